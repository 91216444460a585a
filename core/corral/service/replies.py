"""The replies of the protocol that are no values of their own; `corral.service.protocol` says what each answers."""

from __future__ import annotations

from msgspec import Struct

from corral.values.jobs import Job, ProcessView
from corral.values.past import Past
from corral.values.reports import PeekedPipe, StopReport


class Done(Struct, frozen=True):
    """Nothing to say but that it is done."""


class Hello(Struct, frozen=True, kw_only=True):
    """The daemon's side of the greeting. Frozen, as `SayHello`: a client of any protocol number reads it."""

    version: str
    protocol: int
    pid: int
    home: str
    private: bool = False
    generation: int = 1
    """Grows by one with each restart in place."""
    notices: tuple[str, ...] = ()
    """What a person should hear once, such as that a damaged journal was set aside: for the first command line."""


class Jobs(Struct, frozen=True):
    """Jobs, in the order asked for, else by id."""

    jobs: tuple[Job, ...]
    unknown: tuple[str, ...] = ()
    """One line for each id that is no job, or not one job."""
    leftovers: dict[str, int] = {}
    """How many processes live on of jobs that have ended and are not listed here, by id.

    With ids only those with one of the names asked for, which `stop` means too.
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
    """One line for each id that is no job, or not one job."""
    titles: dict[str, str] = {}
    """What a person calls the jobs, by id: those of the reports; of a daemon that leaves its jobs, theirs."""


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
    """Those of the errors that say of an id that it is no job, or not one job."""


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


class Pasts(Struct, frozen=True):
    """`Past` by job id."""

    past: dict[str, Past]
