"""Pure rules: the state machine of a job, the scheduler, outcomes, retention. No I/O, no clock."""
