"""The sheets that dock at the bottom, over the list."""
