"""Jobs as the engine holds them: the table, their transitions, the queue, snapshots, the executor's seam."""
