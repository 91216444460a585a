"""Layer 4: deciding. The job's state machine, the scheduler, the journal."""
