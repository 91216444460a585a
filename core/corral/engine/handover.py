"""What a daemon hands to the program that takes its place in the same process: all that is not in the journal.

That is what the executor has of each job, whose turn had come, and what was observed. The rest, lives included, is
committed before, so that a program that cannot read this table takes over as after a crash and loses only these.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from corral.jobs.batches.batches import Batches
from corral.jobs.executor import Executor
from corral.jobs.job_table import JobTable
from corral.jobs.managed_job import ManagedJob, new_job
from corral.jobs.queued_job import QueuedJob, queued_job
from corral.jobs.takeover import Handed
from corral.jobs.transitions import Transitions
from corral.journal.journal import Journal
from corral.journal.unfinished_jobs import StoredJob, unended_job
from corral.lifecycle.scheduler import Scheduler
from corral.measure.history import UNKNOWN, History, StageHistory, decode, encode
from corral.model.batch import BatchJobId
from corral.platform.process.identity import ProcessIdentity
from corral.protocol.protocol_number import HANDOVER

FORMAT = HANDOVER


class HandedJob(Struct, frozen=True, kw_only=True):
    """A job that has not ended."""

    id: int
    is_starting: bool = False
    """Its turn had come, and no process of it exists yet."""
    held: Handed = Handed()
    """By the executor."""
    history: History | None = None
    """The whole of what was observed of it."""
    stages: tuple[StageHistory, ...] = ()
    """The same of its stages. Neither of a job that has not started: there may be very many."""


class Handover(Struct, frozen=True, kw_only=True):
    """The whole table. `process` is who wrote it: only that very process may take it."""

    format: int
    process: ProcessIdentity
    jobs: tuple[HandedJob, ...] = ()
    stops: msgspec.Raw = msgspec.Raw(b"[]")
    """Stop sequences that go on: the executor's as well."""
    notices: tuple[str, ...] = ()
    """What no command line has been told yet."""

    @property
    def descriptors(self) -> frozenset[int]:
        """Every descriptor that is handed over."""
        return frozenset(chain.from_iterable(job.held.descriptors for job in self.jobs))


# ---- written ------------------------------------------------------------------------------------------------------


class _Head(Struct):
    """The part of a table of any format."""

    format: int
    process: ProcessIdentity


def decode_table(content: bytes, own: ProcessIdentity | None) -> Handover | str:
    """The table of the process `own`, of this format or an earlier one, or why it cannot be used."""
    try:
        head = msgspec.json.decode(content, type=_Head)
        if head.process != own:
            return "was written by another process"
        if not 1 <= head.format <= FORMAT:
            return f"has format {head.format}, this program reads {FORMAT}"
        if head.format < FORMAT:
            table = msgspec.json.decode(content)
            if head.format == 1:
                table["jobs"] = [_from_format_1(job) for job in table["jobs"]]
            content = encode(table | {"jobs": [_from_format_2(job) for job in table["jobs"]]})
        return decode(content, Handover)
    except msgspec.DecodeError as error:
        return f"cannot be read: {error}"


def _from_format_1(job: dict[str, Any]) -> dict[str, Any]:
    """An entry that names what was observed one by one."""
    seen = job.pop("observed", None)
    if seen is None:
        return job
    stages, recent, story = seen["stages"], seen["recent_output"], seen["story"] or {}
    history = seen | {
        "still": {"last_moved": seen["last_moved"], "active_since": seen["active_since"]},
        "output": {
            "stdout": seen["stdout_bytes"],
            "stderr": seen["stderr_bytes"],
            "last_output": seen["last_output"],
            "written": recent[-1][1] if recent else 0,
            "recent": recent,
        },
        "recent": {"cells": seen["past"]},
        "stuck": story.get("diagnosis"),
        "stuck_at": story.get("diagnosed"),
        "lifetime": _lifetime_of_format_1(story.get("life")),
    }
    pidfds = {stage["number"]: stage["pidfd"] for stage in stages if stage["pidfd"] is not None}
    return job | {"history": history, "stages": stages, "pidfds": pidfds}


_OF_ENGINE = {"id", "is_starting", "history", "stages"}


def _from_format_2(job: dict[str, Any]) -> dict[str, Any]:
    """An entry that has what is held of it side by side with the rest."""
    held = {name: value for name, value in job.items() if name not in _OF_ENGINE}
    descriptors = [held.get("stdin_descriptor"), held.get("stdin_writer")]
    descriptors += [opened[2] for opened in held.get("opened", ())]
    descriptors += [one["line"] for one in held.get("ahead", ())]
    for name, parts in (("terminal", ("master", "inner", "sink")), ("feed", ("writer", "reader"))):
        descriptors += [held[name][part] for part in parts] if held.get(name) else ()
    descriptors += held.get("pidfds", {}).values()
    return {name: job[name] for name in _OF_ENGINE if name in job} | {
        "held": {"content": held, "descriptors": [one for one in descriptors if one is not None]}
    }


def _lifetime_of_format_1(life: dict[str, Any] | None) -> dict[str, Any] | None:
    if life is None:
        return None
    used, measured, peaks = zip(*life["cells"], strict=True) if life["cells"] else ((), (), ())
    return life | {"used": used, "measured": measured, "peaks": [UNKNOWN if p is None else p for p in peaks]}


class JobHandover(Struct, eq=False):
    """Hands the jobs over to the program that takes the place of this one, and takes them back from the one before."""

    _table: JobTable
    _journal: Journal
    _transitions: Transitions
    _scheduler: Scheduler
    _executor: Executor
    _batches: Batches
    enqueue: Callable[[QueuedJob], None]
    """Puts a job that is in the journal into the queue."""
    wake: Callable[[], None]
    """Starts what may start."""

    # ---- giving

    def note_lives(self) -> None:
        """Commit all that the journal can hold, ends of the last moment included. Raises CorralError where it cannot be written."""
        self._executor.reap()
        self._batches.claim_all()
        for job in self._table.started.values():
            if job.life.is_started and not job.life.is_ended:
                self._journal.state_changed(job.id, job.life)
        self._executor.keep_histories()
        self._journal.commit()

    def gather(self, process: ProcessIdentity) -> Handover:
        """The table, as of now. The engine must do nothing more once this is written."""
        return Handover(
            format=FORMAT,
            process=process,
            jobs=tuple(map(self._handed, self._at_hand())),
            stops=self._executor.takeover.hand_over_stops(),
            notices=tuple(self._journal.notices),
        )

    def _at_hand(self) -> Iterator[ManagedJob]:
        """All but the queued jobs for which nothing is held: those the next program finds in the journal."""
        yield from (job for job in self._table.started.values() if not job.life.is_ended)
        whole = (queued.whole for queued in self._table.queued.values())
        yield from (job for job in whole if job is not None and job.held is not None)

    def _handed(self, job: ManagedJob) -> HandedJob:
        return HandedJob(
            id=int(job.id),
            is_starting=job.life.is_starting and not job.life.is_started,
            held=self._executor.takeover.hand_over(job),
            history=job.history if job.life.is_started else None,
            stages=tuple(stage.history for stage in job.stages) if job.life.is_started else (),
        )

    # ---- taking

    def take_back(self, table: Handover) -> None:
        """Go on with every job of the table. Ended ones with leftovers, and jobs it does not name, are for `Recovery`.

        Descriptors of jobs that the journal does not know any more are closed.
        """
        taken = []
        runs = self._batches.take_back()
        for entry in sorted(table.jobs, key=lambda job: job.id):
            stored = runs.get(entry.id) or unended_job(self._journal, entry.id)
            if stored is not None:
                taken.append((self._take_on(stored, entry), entry))
                continue
            for descriptor in entry.held.descriptors:
                os.close(descriptor)
        self._journal.notices.extend(table.notices)
        for job, entry in taken:
            self._resume(job, entry)
        self._executor.takeover.resume_stops(table.stops)
        for job, _ in taken:
            if job.life.is_started:
                self._executor.takeover.settle(job)
        self.wake()

    def _take_on(self, stored: StoredJob, entry: HandedJob) -> ManagedJob:
        """The job as the journal and the table tell, in the queue or beyond it."""
        job = new_job(stored.id, stored.spec, stored.surroundings, stored.created)
        job.life, job.hidden = stored.life, stored.hidden
        if isinstance(job.id, BatchJobId):
            self._batches.adopt(job)
        self._executor.takeover.take_back(job, entry.held)
        if job.life.state == "queued" and not (entry.is_starting or isinstance(job.id, BatchJobId)):
            self.enqueue(queued_job(job.id, stored.spec, stored.created, job))
            return job
        self._table.add(job)
        self._scheduler.adopt(job.id)
        job.life = replace(job.life, is_starting=entry.is_starting)
        self._executor.takeover.assign(job, stored)
        return job

    def _resume(self, job: ManagedJob, entry: HandedJob) -> None:
        if job.life.is_starting:
            self._executor.takeover.resume(job)
        elif job.life.is_started:
            if entry.history is not None:
                self._recall(job, entry.history, entry)
            self._executor.takeover.resume(job)
            self._transitions.arm_timeout(job)

    def _recall(self, job: ManagedJob, history: History, entry: HandedJob) -> None:
        for stage, noted in zip(job.stages, entry.stages, strict=True):
            if stage.history.cpu_seconds is not None:  # of its end, by the journal
                noted.cpu_seconds = stage.history.cpu_seconds
            stage.history = noted
        job.history = history
        for stream in history.streams:
            # What was being set up went with the threads of the program before.
            stream.has_tripwire = stream.has_tripwire is True
