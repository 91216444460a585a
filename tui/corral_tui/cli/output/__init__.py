"""Copying what jobs print to where the command line prints."""
