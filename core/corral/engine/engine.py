"""The engine: the root that creates all parts of one home's process manager and connects them.

Internal: one per process, inside the daemon. Everything here runs in one thread on one event loop.
"""

from __future__ import annotations

from corral.commands.batch_lists import BatchLists
from corral.commands.batch_pauses import BatchPauses
from corral.commands.batch_restarts import BatchRestarts
from corral.commands.batch_stops import BatchStops
from corral.commands.batch_why import BatchExplanation
from corral.commands.input import InputCommands
from corral.commands.remove import RemoveCommands
from corral.commands.restart import Restarts
from corral.commands.signal import SignalCommands
from corral.commands.stop import StopCommands
from corral.commands.why import Explanation
from corral.engine.handover import JobHandover
from corral.engine.recovery import Recovery
from corral.executors.local import LocalExecutor
from corral.jobs.acceptance import Acceptance
from corral.jobs.batches.batch_ends import BatchEnds
from corral.jobs.batches.batches import Batches
from corral.jobs.end_waiters import EndWaiters
from corral.jobs.executor import Executor
from corral.jobs.job_observers import JobNotifier
from corral.jobs.job_table import KEPT_ENDED, JobTable
from corral.jobs.reference_lookup import ReferenceLookup
from corral.jobs.snapshots import Snapshots
from corral.jobs.start_queue import StartQueue
from corral.jobs.transitions import Transitions
from corral.journal.commits import Commits
from corral.journal.journal import Journal
from corral.journal.upkeep import Upkeep
from corral.lifecycle.job_reference import NEWEST
from corral.lifecycle.scheduler import Group, Scheduler
from corral.lifecycle.state import (
    BeginStop,
    EndStages,
    JobEnded,
    PauseTree,
    ResumeTree,
    SkipGrace,
    StartStages,
)
from corral.model.home import Home
from corral.platform.files.hanging_mounts import HangingMounts
from corral.platform.process import mark
from corral.retention.clean_settings_reader import CleanSettingsReader
from corral.retention.cleaner import Cleaner
from corral.retention.deletion import Deletion
from corral.retention.needed_jobs import NeededJobs


class Engine:
    """Runs, watches and ends the jobs of one home.

    Args:
        journal: open for writing; its owner is this engine.
        parallel: how many jobs may run at a time, None for any number.
    """

    def __init__(self, home: Home, journal: Journal, *, parallel: int | None = None) -> None:
        self.home = home
        self.journal = journal
        self.why_no_marks = mark.why_not()
        self._nonce = None if self.why_no_marks else journal.nonce
        self.table = JobTable(journal.ended(KEPT_ENDED))
        self.transitions = Transitions(self.table, journal)
        self.scheduler = Scheduler()
        self.scheduler.configure(Group(limit=parallel))
        self.commits = Commits(journal, on_unlocked=lambda: self.queue.wake())
        self.upkeep = Upkeep(journal)
        self.snapshots = Snapshots(
            self.table,
            journal,
            waiting_for=lambda job_id: self.queue.waiting_for(job_id),
            executor=lambda: self.executor,
            stored_job=lambda job_id: self.batches.stored_jobs(job_id.batch, [job_id.number])[0],
            origin_of_job=lambda job_id: self.batches.origin_of_job(job_id),
        )
        self._create_queue()
        self._create_batches()
        self._create_executor()
        self.ends = EndWaiters(self.table)
        self._create_cleaning()
        self._create_commands()
        self._create_recovery()
        self._connect()

    def _create_queue(self) -> None:
        """What decides which job starts, and takes jobs on."""
        self.queue = StartQueue(
            self.table,
            self.journal,
            self.scheduler,
            self.commits,
            self.transitions.apply,
            executor=lambda: self.executor,
            state_of=self.snapshots.state_of,
        )
        self.references = ReferenceLookup(
            self.table,
            self.journal,
            is_going=lambda job_id: job_id in self.deletion.under_way,
            batch_job=lambda batch, number: self.batches.job_id(batch, number),
        )
        self.acceptance = Acceptance(
            self.table,
            self.journal,
            self.commits,
            self.queue,
            self.snapshots,
            executor=lambda: self.executor,
            resolve=self.references.resolve,
            replaces=lambda links: self.restarts.dependencies(links),
        )

    def _create_batches(self) -> None:
        ends = BatchEnds(
            self.home,
            self.table,
            self.journal,
            self.snapshots,
            executor=lambda: self.executor,
            note_end=self._note_end,
            tell=lambda snapshot: self.events.batch_ended(snapshot),
            arm_timeout=self.transitions.arm_timeout,
            halt=lambda batch: self.batch_stops.end_what_runs(batch, "by --halt"),
            go_on=lambda batch: self.batches.go_on(batch),
        )
        self.batches = Batches(
            self.home,
            self.table,
            self.journal,
            self.commits,
            self.scheduler,
            self.queue,
            self.acceptance,
            ends,
            executor=lambda: self.executor,
        )
        self.queue.claim, self.queue.fail_batch = self.batches.claim, self.batches.fail

    def _note_end(self, job_id: int, has_succeeded: bool) -> None:
        """Of a job of a batch."""
        self.queue.note_end(job_id, has_succeeded=has_succeeded)
        self.ends.note_end(job_id)
        self.queue.wake()

    def _create_executor(self) -> None:
        self.mounts = HangingMounts(self.home.path)
        self.executor: Executor = LocalExecutor(
            self.home,
            self._nonce,
            self.mounts,
            self.table,
            self.journal,
            self.commits,
            self.snapshots,
            self.transitions.apply,
            wake=self.queue.wake,
            note_start_failed=self.queue.note_start_failed,
            note_survivors=lambda job_id, text: self.restarts.give_up(job_id, text),
        )

    def _create_cleaning(self) -> None:
        self.needed_jobs = NeededJobs(self.table)
        self.deletion = Deletion(
            self.home,
            self.table,
            self.journal,
            self.commits,
            fail_waiters=self.queue.fail_waiters,
            let_go=self.executor.leftovers.let_go,
        )
        self.cleaner = Cleaner(
            self.home,
            self.table,
            self.journal,
            self.commits,
            self.upkeep,
            self.executor,
            self.needed_jobs,
            self.deletion,
            CleanSettingsReader(self.mounts, reap=self.executor.reap),
        )

    def _create_commands(self) -> None:
        """What clients ask for."""
        self.stops = StopCommands(
            self.table,
            self.journal,
            self.snapshots,
            self.executor,
            self.transitions.apply,
            withdraw=self.queue.withdraw,
            hold_starts=self.queue.held,
        )
        self.batch_stops = BatchStops(self.table, self.journal, self.snapshots, self.batches, self.stops)
        self.batch_lists = BatchLists(self.table, self.snapshots, self.batches)
        self.signals = SignalCommands(
            self.journal,
            self.commits,
            self.snapshots,
            self.executor,
            self.transitions.apply,
        )
        self.batch_pauses = BatchPauses(self.table, self.journal, self.batches, self.signals)
        self.inputs = InputCommands(self.table, self.snapshots, self.executor)
        self.restarts = Restarts(
            self.home,
            self.table,
            self.snapshots,
            self.stops,
            self.transitions.apply,
            accept=self.acceptance.accept,
            take=self.queue.take,
        )
        self.batch_restarts = BatchRestarts(
            self.table, self.batches, self.stops, self.batch_stops, self.acceptance.accept
        )
        self.removals = RemoveCommands(
            self.table,
            self.journal,
            self.commits,
            self.upkeep,
            self.snapshots,
            self.executor,
            self.stops,
            self.batch_stops,
            self.deletion,
            wake=self.queue.wake,
        )
        self.explanation = Explanation(
            self.home,
            self.table,
            self.journal,
            self.commits,
            self.snapshots,
            self.executor,
            newest=lambda: self.references.resolve(NEWEST),
        )

        self.batch_explanation = BatchExplanation(
            self.table, self.journal, self.snapshots, self.batches, why_job=self.explanation.why
        )

    def _create_recovery(self) -> None:
        """What takes over from an earlier daemon, and hands over to the next program of this one."""
        self.recovery = Recovery(
            self.home,
            self.table,
            self.journal,
            self.commits,
            self.transitions,
            self.scheduler,
            self.executor,
            enqueue=self.acceptance.enqueue,
            take=self.queue.take,
            batches=self.batches,
            resume_restarts=self.restarts.resume,
            wake=self.queue.wake,
        )
        self.handover = JobHandover(
            self.table,
            self.journal,
            self.transitions,
            self.scheduler,
            self.executor,
            self.batches,
            enqueue=self.acceptance.enqueue,
            wake=self.queue.wake,
        )

    def _connect(self) -> None:
        """Who does what the state machine asks for, and who hears of starts and ends."""
        self.events = events = JobNotifier(
            self.table,
            self.journal,
            self.snapshots,
            self.executor,
            observers=(self.queue, self.cleaner, self.ends, self.executor.leftovers),
            batch_job_ended=self.batches.ends.job_ended,
        )
        self.transitions.on_start = self.queue.job_started
        self.queue.on_withdrawn = events.withdrawn
        handle = self.transitions.handle
        handle(StartStages, self.queue.start_stages)
        handle(BeginStop, self.stops.begin)
        handle(EndStages, self.stops.kill)
        handle(SkipGrace, lambda job, _: self.executor.skip_grace(job))
        handle(PauseTree, self.signals.pause_tree)
        handle(ResumeTree, self.signals.resume_tree)
        handle(JobEnded, events.ended)
