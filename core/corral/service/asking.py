"""Asking why, with all that a client can add to the question."""

from __future__ import annotations

from corral.service.protocol import AskWhy
from corral.system import pyspy


def ask_why(job: str | None) -> AskWhy:
    """The question with the stacks of Python programs, and where this client's PATH has py-spy."""
    return AskWhy(job=job, stacks=True, py_spy=pyspy.on_path())
