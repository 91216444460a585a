"""The dialogs that dock at the bottom, over the list."""
