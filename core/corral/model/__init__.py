"""What jobs, specifications and reports are: frozen values, without handles and without I/O."""
