"""Starting processes: look-ups, limits, credentials, spawn, stand-ins."""
