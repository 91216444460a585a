"""The dashboard: a client that paints."""
