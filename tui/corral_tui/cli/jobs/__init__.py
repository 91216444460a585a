"""The verbs about jobs that are there."""
