"""The seam of what a daemon takes over: from one that has died, or from the program before it in the same process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec
from msgspec import Struct

from corral.jobs.managed_job import ManagedJob
from corral.journal.unfinished_jobs import StoredJob


class Handed(Struct, frozen=True):
    """What an executor hands over to itself in the next program of this process."""

    content: msgspec.Raw = msgspec.Raw(b"{}")
    """JSON that only the executor reads."""
    descriptors: tuple[int, ...] = ()
    """Those that `content` names: they stay open."""


class Takeover(Protocol):
    """The executor's part in it. The engine asks in the order of these methods."""

    # ---- from a daemon that has died

    def find(self, stored: Sequence[StoredJob]) -> Mapping[int, int]:
        """How many processes of each job are alive; 0 where all that was found has ended. Jobs of which `stored` says
        nothing are found as well."""

    def assign(self, job: ManagedJob, stored: StoredJob) -> tuple[int, ...]:
        """Give each stage the process that the journal has noted, else, after a crash while starting, one that was found.

        Returns the stages of the second kind; the journal knows them by then.
        """

    def adopt(self, job: ManagedJob) -> None:
        """Go on to observe a job that runs."""

    def recall_unmarked(self) -> None:
        """Go on from what the daemon before had noted of processes without a mark."""

    # ---- from the program before in the same process

    def hand_over(self, job: ManagedJob) -> Handed: ...

    def hand_over_stops(self) -> msgspec.Raw: ...

    def take_back(self, job: ManagedJob, handed: Handed) -> None:
        """Take on what a job, that may be queued, has."""

    def resume(self, job: ManagedJob) -> None:
        """Go on with its start, or with observing it."""

    def resume_stops(self, handed: msgspec.Raw) -> None: ...

    # ---- from either

    def settle(self, job: ManagedJob) -> None:
        """Tell the life of a job that it was taken over, once what its stages wrote before they ended is in its files."""
