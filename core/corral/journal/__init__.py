"""The journal: jobs, stages and events in SQLite. The daemon is its only writer."""
