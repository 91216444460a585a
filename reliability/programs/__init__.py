"""The real programs that `reliability/real_programs.py` runs, a module a kind."""

from reliability.programs import databases, kernel, relays, runtimes, wrapped
from reliability.programs.cases import CASES, Case, Place

__all__ = ["CASES", "Case", "Place", "databases", "kernel", "relays", "runtimes", "wrapped"]
