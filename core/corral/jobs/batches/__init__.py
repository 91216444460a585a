"""Batches as the engine holds them: what is under way, the next job, ends."""
