"""The prompt that starts a job."""
