"""The board: all jobs, as panels and as a table."""
