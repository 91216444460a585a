"""What `corral logs` is to print."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class LogOptions(NamedTuple):
    """Which streams to print, and how."""

    stdout: bool
    stderr: bool
    stage: int | None
    tail: int | None
    raw: bool
    follow: bool
    merged: bool = False
    merged_was_asked: bool = False
    """By the option: it is the default on a terminal."""

    def streams(self, stages: int) -> Iterator[int]:
        """The chosen ones of a job with so many stages: 0 is stdout, then stderr by stage."""
        if self.stdout:
            yield 0
        if self.stderr:
            yield from [self.stage] if self.stage is not None else range(1, stages + 1)
