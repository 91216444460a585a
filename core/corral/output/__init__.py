"""The output files of jobs: reading, order of streams, truncation, relay."""
