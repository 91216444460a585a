"""The daemon: serves the engine to clients, publishes changes, restarts in place."""
