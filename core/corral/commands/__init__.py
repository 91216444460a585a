"""What clients ask the engine for: stop, signal, send input, remove, restart, explain."""
