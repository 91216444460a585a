"""Layer 5: the engine, the single-threaded owner of the children of its process."""
