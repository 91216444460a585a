"""Layer 1: values. Frozen, serialisable, without handles and without I/O."""
