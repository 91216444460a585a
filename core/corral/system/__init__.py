"""Layer 2: the operating system. Each kernel mechanism in a file named after it."""
