"""Replies of the protocol that no other part of Corral uses; `corral.protocol.requests` says what each answers."""

from __future__ import annotations

from msgspec import Struct

from corral.model.history import RecentHistory
from corral.model.job import Job, ProcessView
from corral.model.reports import PeekedPipe, StopReport


class Done(Struct, frozen=True):
    """It was done."""


class Hello(Struct, frozen=True, kw_only=True):
    """The daemon's side of the greeting. Frozen, as `SayHello`: a client of any protocol number reads it."""

    version: str
    protocol: int
    pid: int
    home: str
    private: bool = False
    generation: int = 1
    """Incremented by each restart in place."""
    notices: tuple[str, ...] = ()
    """What a person should hear once, such as that a damaged journal was set aside: for the first command line."""


class Jobs(Struct, frozen=True):
    """Jobs, in the order asked for, else by id."""

    jobs: tuple[Job, ...]
    unknown: tuple[str, ...] = ()
    """One line for each reference that matches no job, or several."""
    leftovers: dict[str, int] = {}
    """Number of leftover processes by job id, of ended jobs that are not listed here.

    If references were given, only jobs with one of these names, which `stop` would include.
    """


class Started(Struct, frozen=True):
    """Jobs that were accepted, in the order of their specifications."""

    ids: tuple[str, ...]
    left: tuple[str, ...] = ()
    """What earlier jobs of the same names have left alive, a line for each job."""


class Stops(Struct, frozen=True):
    """One report a job."""

    reports: tuple[StopReport, ...]
    unknown: tuple[str, ...] = ()
    """One line for each reference that matches no job, or several."""
    titles: dict[str, str] = {}
    """Titles of the jobs in the reports, by id; if the daemon leaves its jobs, of those."""


class Processes(Struct, frozen=True):
    """The tree of one job, leaders first."""

    processes: tuple[ProcessView, ...]


class Pipes(Struct, frozen=True):
    """The pipes of one job."""

    pipes: tuple[PeekedPipe, ...]


class Outcome(Struct, frozen=True):
    """What one request did to several jobs: one line per job that was touched, one error per job that was not."""

    done: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    """Those of the errors that are about a reference that matches no job, or several."""


class Waited(Struct, frozen=True):
    """The jobs waited for, in the order named; with `any`, the first to end alone. `timed_out`: some had not ended."""

    jobs: tuple[Job, ...]
    timed_out: bool = False


LISTS: dict[type[Struct], tuple[str, type[Struct]]] = {
    Jobs: ("jobs", Job),
    Stops: ("reports", StopReport),
    Waited: ("jobs", Job),
}
"""Replies that may come in parts: the field that is one long list, and what that holds."""


class RecentHistories(Struct, frozen=True):
    """`RecentHistory` by job id."""

    past: dict[str, RecentHistory]
