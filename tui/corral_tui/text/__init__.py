"""Texts that the command line and the dashboard both show."""
