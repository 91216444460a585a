"""The request for a diagnosis, with what only a client knows."""

from __future__ import annotations

from corral.service.protocol import AskWhy
from corral.system import pyspy


def ask_why(job: str | None) -> AskWhy:
    """With the stacks of Python programs, and the py-spy on this client's PATH."""
    return AskWhy(job=job, stacks=True, py_spy=pyspy.on_path())
