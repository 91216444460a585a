"""The library's public objects: managers and job handles."""
