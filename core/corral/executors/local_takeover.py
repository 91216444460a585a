"""Taking over processes on this machine: found by the journal and by marks, or handed over with their descriptors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from corral.jobs.job_table import JobTable
from corral.jobs.managed_job import ManagedJob
from corral.jobs.takeover import Handed
from corral.jobs.transitions import Apply
from corral.journal.journal import Journal
from corral.journal.unfinished_jobs import StoredJob
from corral.lifecycle.clock import moment
from corral.lifecycle.state import Adopted, FeedFailed
from corral.measure.history import decode, encode
from corral.model.batch import FIRST_RUN
from corral.model.spec import InteractiveInput, JobInput
from corral.monitor.monitor import Monitor
from corral.platform.files.pipes import PipeBudget
from corral.platform.process.identity import ProcessIdentity
from corral.processes.local_run import handle_of, run_of
from corral.processes.reaping import ChildEnd
from corral.processes.stop_sequence import LocalStop, StopSequences, Target
from corral.processes.unmarked_claims import Seen
from corral.runner.adopted_processes import AdoptedProcesses
from corral.runner.children import Children
from corral.runner.feed import FED, Feed, Feeds
from corral.runner.launcher import Launcher
from corral.runner.leftovers import LocalLeftovers, live_members
from corral.runner.stand_ins import HandedStandIn
from corral.runner.terminals import HandedTerminal, Terminals
from corral.runner.unmarked import UnmarkedKeeper


class HandedProcesses(Struct, frozen=True, kw_only=True):
    """What a job has on this machine, on its way to the next program."""

    opened: tuple[tuple[int, int, int], ...] = ()
    """(stage, position, descriptor) of redirections that are open while others are waited for; earlier programs left some."""
    ahead: tuple[HandedStandIn, ...] = ()
    """What goes ahead of its stages."""
    stdin_descriptor: int | None = None
    stdin_writer: int | None = None
    terminal: HandedTerminal | None = None
    feed: Feed | None = None
    pipe_bytes: int = 0
    pipe_inodes: dict[int, int] = {}
    input_pipe: int | None = None
    pidfds: dict[int, int] = {}
    """By stage, of processes that are not our children: once init has reaped one, only this descriptor tells its status."""

    @property
    def descriptors(self) -> tuple[int, ...]:
        found = [self.stdin_descriptor, self.stdin_writer, *(descriptor for _, _, descriptor in self.opened)]
        found += [one.line for one in self.ahead]
        found += () if self.terminal is None else self.terminal.descriptors
        found += () if self.feed is None else (self.feed.writer, self.feed.reader)
        found += self.pidfds.values()
        return tuple(descriptor for descriptor in found if descriptor is not None)


class HandedStop(Struct, frozen=True, kw_only=True):
    """A stop sequence that goes on."""

    job: int
    stage: int | None
    signal: str
    grace: float
    began: float
    is_killing: bool
    last_change: float
    is_hopeless: bool
    note: str | None
    targets: tuple[Target, ...]
    ends: tuple[tuple[ProcessIdentity, ChildEnd], ...] = ()
    """Of targets that were reaped and not yet noted as gone."""


class LocalTakeover(Struct, eq=False):
    """See `Takeover`."""

    _table: JobTable
    _journal: Journal
    _apply: Apply
    _adopted: AdoptedProcesses
    _children: Children
    _monitor: Monitor
    _terminals: Terminals
    _feeds: Feeds
    _launcher: Launcher
    _stopper: StopSequences
    _leftovers: LocalLeftovers
    _unmarked: UnmarkedKeeper
    _budget: PipeBudget
    _found: Mapping[int, Sequence[Seen]] = {}
    _handed: dict[int, HandedProcesses] = {}

    # ---- from a daemon that has died

    def find(self, stored: Sequence[StoredJob]) -> Mapping[int, int]:
        self._found = self._adopted.find_all(stored)
        return {job_id: len(live_members(seen)) for job_id, seen in self._found.items()}

    def assign(self, job: ManagedJob, stored: StoredJob) -> tuple[int, ...]:
        found = self._adopted.assign(job, stored, self._found.get(job.id, ()))
        if found:
            self._journal.stages_started(job.id, found, datetime.now(UTC))
        return tuple(stage.number for stage in found)

    def adopt(self, job: ManagedJob) -> None:
        self._note_lost_input(job)
        self._monitor.recall(job, self._found.get(job.id, ()))
        self._adopted.watch(job)

    def _note_lost_input(self, job: ManagedJob) -> None:
        """It reads EOF: the daemon held the other end of its stdin. Of a job whose input broke off no success is believed."""
        source = job.spec.stdin
        if job.spec.pty:
            self._terminals.note_lost(job)
        elif isinstance(source, InteractiveInput):
            text = "its stdin was closed: the daemon that held it open has ended"
            self._journal.record(job.id, datetime.now(UTC), "feed", text)
        elif isinstance(source, JobInput) and not self._was_fed(job):
            reason = f"the daemon ended before all of job {source.job} was fed to it"
            self._apply(job, FeedFailed(**moment(), reason=reason))

    def _was_fed(self, job: ManagedJob) -> bool:
        return any(event.kind == FED for event in self._journal.events(job.id))

    def recall_unmarked(self) -> None:
        self._unmarked.recall()

    # ---- given to the next program

    def hand_over(self, job: ManagedJob) -> Handed:
        if job.held is None:
            return Handed()
        run, stand_ins = run_of(job), self._launcher.stand_ins_of(job)
        handles = {stage.number: handle_of(stage) for stage in job.stages}
        handed = HandedProcesses(
            ahead=() if stand_ins is None else stand_ins.handed(),
            stdin_descriptor=run.stdin_descriptor,
            stdin_writer=run.stdin_writer,
            terminal=self._terminals.handed(job),
            feed=self._feeds.of(job),
            pipe_bytes=run.pipe_bytes,
            pipe_inodes=run.pipe_inodes,
            input_pipe=run.input_pipe,
            pidfds={
                number: handle.pidfd
                for number, handle in handles.items()
                if handle.pidfd is not None and handle.popen is None
            },
        )
        return Handed(msgspec.Raw(encode(handed)), handed.descriptors)

    def hand_over_stops(self) -> msgspec.Raw:
        return msgspec.Raw(encode([self._handed_stop(stop) for stop in self._stopper.under_way()]))

    def _handed_stop(self, stop: LocalStop) -> HandedStop:
        ends = ((target.identity, self._children.end_of(target.identity)) for target in stop.alive)
        return HandedStop(
            job=int(stop.job.id),
            stage=stop.stage,
            signal=stop.signal,
            grace=stop.grace,
            began=stop.began,
            is_killing=stop.is_killing,
            last_change=stop.last_change,
            is_hopeless=stop.gave_up,
            note=stop.note,
            targets=tuple(stop.targets.values()),
            ends=tuple((identity, end) for identity, end in ends if end is not None),
        )

    # ---- taken from the program before

    def take_back(self, job: ManagedJob, handed: Handed) -> None:
        if handed == Handed():
            return
        entry = decode(bytes(handed.content), HandedProcesses)
        run = run_of(job)
        run.stdin_descriptor, run.stdin_writer = entry.stdin_descriptor, entry.stdin_writer
        run.pipe_inodes, run.input_pipe = dict(entry.pipe_inodes), entry.input_pipe
        run.pipe_bytes = entry.pipe_bytes
        self._budget.took(entry.pipe_bytes)
        self._handed[job.id] = entry

    def resume(self, job: ManagedJob) -> None:
        entry = self._handed.pop(job.id, HandedProcesses())
        if job.life.is_starting:
            self._resume_start(job, entry)
            return
        for stage in job.stages:
            handle_of(stage).pidfd = entry.pidfds.get(stage.number)
        if job.history.progress is not None:
            progress, job.history.progress = job.history.progress, None
            self._monitor.go_on(job, progress)
        if entry.feed is not None:
            self._feeds.begin(job, entry.feed)
        if entry.terminal is not None:
            self._terminals.go_on(job, entry.terminal)
        self._adopted.watch(job)

    def _resume_start(self, job: ManagedJob, entry: HandedProcesses) -> None:
        if entry.ahead:
            if entry.terminal is not None:
                self._terminals.go_on(job, entry.terminal)
            self._launcher.take_back_stand_ins(job, entry.ahead)
        else:
            opened = {(stage, position): descriptor for stage, position, descriptor in entry.opened}
            self._launcher.start(job, opened)

    def resume_stops(self, handed: msgspec.Raw) -> None:
        for stop in decode(bytes(handed), tuple[HandedStop, ...]):
            self._resume_stop(stop)

    def _resume_stop(self, handed: HandedStop) -> None:
        """What was sent is not sent again, and the grace that is left is what is left."""
        found = self._table.started.get(handed.job)
        if found is None and handed.job >= FIRST_RUN:
            return  # of a job of a batch that has ended: what it has left alive is found, and swept, by its mark
        job = found or self._leftovers.take_on(handed.job)
        if job.life.is_ended:
            job.life = replace(job.life, sweeping=True)
        for identity, end in handed.ends:
            self._children.remember(identity, end)
        stop = LocalStop(job, handed.signal, handed.grace, handed.stage, handed.began)
        stop.targets = {target.identity: target for target in handed.targets}
        stop.is_killing, stop.gave_up = handed.is_killing, handed.is_hopeless
        stop.last_change, stop.note = handed.last_change, handed.note
        self._stopper.go_on(stop)

    # ---- from either

    def settle(self, job: ManagedJob) -> None:
        self._children.relays.apply_once_through(job, Adopted(**moment()))
