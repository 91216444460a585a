"""The verbs that start a job or attach to one."""
