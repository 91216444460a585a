"""The output of a job: rows, filter, layout."""
