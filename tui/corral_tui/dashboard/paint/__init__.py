"""Lines, styles and canvases, and the emulator of terminals."""
