"""Small programs that are jobs of the demo. Each needs only the standard library."""
