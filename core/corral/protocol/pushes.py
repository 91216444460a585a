"""What a daemon sends without being asked: to subscribers what changes, and to every client that it leaves."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from corral.model.job import Job
from corral.model.machine import Machine


class SnapshotPushed(Struct, frozen=True, tag="snapshot", tag_field="event", kw_only=True):
    """All jobs, after `Subscribe`."""

    rev: int
    jobs: tuple[Job, ...]
    machine: Machine | None = None
    queued: int | None = None
    """How many jobs are queued in all; None of an earlier daemon."""
    more: bool = False
    """It is incomplete: the rest follows as changes, until one has `more` false."""


class ChangesPushed(Struct, frozen=True, tag="changed", tag_field="event", kw_only=True):
    """What changed since the last push."""

    rev: int
    jobs: tuple[Job, ...] = ()
    removed: tuple[str, ...] = ()
    machine: Machine | None = None
    queued: int | None = None
    """How many jobs are queued in all; None where nothing is said of that."""
    more: bool = False
    """As in a snapshot."""


class Leaving(Struct, frozen=True, tag="leaving", tag_field="event", kw_only=True):
    """To every client, before the daemon disconnects: requests without an answer that are not in `taken` were never read."""

    why: Literal["restart", "end", "stay"]
    """`end`: ended on purpose, so that clients start no other. `stay`: it does not disconnect after all."""
    taken: tuple[int, ...] = ()


Push = SnapshotPushed | ChangesPushed
