"""What runs jobs. `local`: as child processes of the daemon."""
