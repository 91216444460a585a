"""What is held of a job that waits for its turn. There may be very many: the journal has the rest until one is taken on."""

from __future__ import annotations

import sys
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from msgspec import Struct

from corral.commandline.program_name import program_name
from corral.jobs.managed_job import ManagedJob
from corral.model.spec import JobInput, JobSpec


class Links(NamedTuple):
    """What a specification says of other jobs, by their ids."""

    parent: str | None = None
    restarted_from: str | None = None
    instead_of: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    reads: str | None = None
    """The job whose output it reads."""


NO_LINKS = Links()


def links_of(spec: JobSpec) -> Links:
    reads = spec.stdin.job if isinstance(spec.stdin, JobInput) else None
    return _shared(Links(spec.parent, spec.restarted_from, spec.instead_of, spec.after, reads))


@lru_cache(maxsize=64)
def _shared(links: Links) -> Links:
    """One for all that have the same: of thousands most do."""
    return NO_LINKS if links == NO_LINKS else links


class QueuedJob(Struct, eq=False):
    """A job in the queue."""

    id: int
    name: str | None
    created: datetime
    links: Links
    stages: int
    """How many it will have."""
    program: str
    """The name of the first one."""
    whole: ManagedJob | None = None
    """The job itself, where it is at hand: it starts soon, or something is held for it."""

    @property
    def title(self) -> str:
        """As `Job.title`."""
        return self.name or self.program


def queued_job(job_id: int, spec: JobSpec, created: datetime, whole: ManagedJob | None = None) -> QueuedJob:
    stages = spec.pipeline.stages
    # Of thousands most are of one program.
    program = sys.intern(program_name(stages[0].argv))
    return QueuedJob(job_id, spec.name, created, links_of(spec), len(stages), program, whole)
