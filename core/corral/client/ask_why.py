"""The request for a diagnosis, with what only a client knows."""

from __future__ import annotations

from corral.platform.inspect import py_spy
from corral.protocol.requests import AskWhy


def ask_why(job: str | None) -> AskWhy:
    """With the stacks of Python programs, and the py-spy on this client's PATH."""
    return AskWhy(job=job, stacks=True, py_spy=py_spy.on_path())
