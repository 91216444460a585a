"""Files, pipes, terminals and mounts."""
