"""The real programs that `faults/real.py` runs, a module a kind."""

from real import databases
from real.cases import CASES, Case, Place

__all__ = ["CASES", "Case", "Place", "databases"]
