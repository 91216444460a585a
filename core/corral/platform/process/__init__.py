"""Processes: identity, mark, signals, pidfd, clocks."""
