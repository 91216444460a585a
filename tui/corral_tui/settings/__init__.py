"""The user's settings file."""
