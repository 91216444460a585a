"""The real programs that `faults/real.py` runs, a module a kind."""

from real import databases, kernel, relays, runtimes, wrapped
from real.cases import CASES, Case, Place

__all__ = ["CASES", "Case", "Place", "databases", "kernel", "relays", "runtimes", "wrapped"]
