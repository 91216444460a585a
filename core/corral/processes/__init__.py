"""Which processes belong to which job, and how they are signalled and ended."""
