"""A job on its way to being started: what was looked up and opened for it, or why it cannot be."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from msgspec import Struct

from corral.jobs.managed_job import ManagedJob
from corral.model.errors import CannotStartError
from corral.model.spec import Redirection
from corral.model.wire import from_wire, to_wire
from corral.platform.files.path_destination import FILE, Destination

OpenFiles = dict[tuple[int, int], int]
"""Descriptors of redirections, by stage number and position in its list."""


class StartError(Exception):
    """A job could not start. `spawned` are the stages that run already and have to be ended."""

    def __init__(self, stage: int | None, cause: CannotStartError, spawned: tuple[int, ...] = ()) -> None:
        super().__init__(_shortened(to_wire(str(cause))))
        self.stage, self.status, self.spawned = stage, cause.status, spawned


_LONGEST_REASON = 600


def _shortened(reason: str) -> str:
    """It stands in every list; what was to be run, and is named in it, may be a megabyte."""
    if len(reason) <= _LONGEST_REASON:
        return reason
    return f"{reason[:400]}…{reason[-150:]}"


class Preparation(Struct):
    """A job on its way: what was looked up and opened so far. Owns the descriptors in `opened` until the spawn."""

    job: ManagedJob
    redirections: list[tuple[Redirection, ...]]
    programs: list[str] = []
    environments: list[Mapping[bytes, bytes]] = []
    destinations: dict[tuple[int, int], Destination] = {}
    """Of the paths of redirections, by stage number and position in its list."""
    opened: OpenFiles = {}
    may_wait: bool = False
    """Looking at one of its paths, or opening it, could wait for ever: that is for others to do (`corral.runner.stand_ins`)."""

    def paths(self) -> Iterator[tuple[int, int, Redirection, str]]:
        """(stage, position, redirection, absolute path) of all redirections to paths, in the order written."""
        cwd = from_wire(self.job.surroundings.cwd)
        for number, redirections in enumerate(self.redirections, 1):
            for position, redirection in enumerate(redirections):
                if redirection.path is not None:
                    path = os.path.join(cwd, from_wire(redirection.path))
                    yield number, position, redirection, path

    def to_open(self) -> list[tuple[int, int, Redirection, str]]:
        """Those that are files; others are descriptors that the stage has already."""
        return [entry for entry in self.paths() if self.destinations[entry[:2]].kind == FILE]

    def close(self) -> None:
        for descriptor in self.opened.values():
            os.close(descriptor)
        self.opened.clear()
