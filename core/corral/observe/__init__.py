"""Layer 3: observing. Usage, pipe flow, waits and diagnosis, output files."""
