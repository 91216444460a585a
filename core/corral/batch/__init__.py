"""Batches: one command run for each of many inputs."""
