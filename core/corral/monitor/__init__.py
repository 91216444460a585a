"""Watching running jobs, once a second: usage, output, pipes, health, stacks."""
