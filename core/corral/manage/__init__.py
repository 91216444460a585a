"""Layer 5: the manager, the single-threaded owner of the children of its process."""
