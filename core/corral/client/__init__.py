"""What a client of the daemon does: connect, ask, subscribe, start and replace the daemon."""
