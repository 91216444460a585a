"""The executor of this machine: jobs as child processes of the daemon, found again by their marks."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping

from corral.executors.local_takeover import LocalTakeover
from corral.jobs.executor import HOW_TO_SEND
from corral.jobs.job_table import JobTable
from corral.jobs.managed_job import ManagedJob
from corral.jobs.snapshots import Snapshots
from corral.jobs.transitions import Apply
from corral.journal.commits import Commits
from corral.journal.journal import Journal
from corral.model.errors import NotSoError
from corral.model.home import Home
from corral.model.reports import Diagnosis, OpenedInput, Survivor
from corral.monitor.health import HealthJudge
from corral.monitor.history_store import HistoryStore
from corral.monitor.last_stacks import LastStacks
from corral.monitor.monitor import Monitor
from corral.monitor.output_watch import OutputWatch
from corral.monitor.peek import peek
from corral.monitor.pipe_watch import PipeWatch
from corral.monitor.stack_capture import StackCapture
from corral.monitor.stop_stuck import StuckStopper
from corral.monitor.waits_of_job import WaitsOfJobs
from corral.platform.files.hanging_mounts import HangingMounts
from corral.platform.files.pipes import PipeBudget
from corral.platform.process.prctl import become_subreaper
from corral.platform.process.signalling import Signaller
from corral.processes.job_lifetimes import JobLifetimes
from corral.processes.job_signals import JobSignals
from corral.processes.local_run import run_of
from corral.processes.member_scan import MemberScan
from corral.processes.process_scan import ProcessScan
from corral.processes.stop_sequence import StopSequences, in_doubt
from corral.processes.usage_meter import observation_of
from corral.runner.adopted_processes import AdoptedProcesses
from corral.runner.children import Children
from corral.runner.feed import Feeds
from corral.runner.launcher import Launcher
from corral.runner.leftovers import LocalLeftovers, live_members
from corral.runner.open_and_spawn import Starter
from corral.runner.output_cap import OutputCap
from corral.runner.stop_events import StopEvents
from corral.runner.terminals import Terminals
from corral.runner.truncation_watch import TruncationWatch
from corral.runner.unmarked import UnmarkedKeeper
from corral.waits.holders import Holders


class LocalExecutor:
    """Creates and connects all that starts, counts, signals and reaps processes.

    Args:
        mounts: what may hang of the file systems.
        nonce: of this home's marks; None where marks do not work.
        wake: called when a start may be due.
        note_start_failed: called when the start of a job has failed, whatever of it still runs.
        note_survivors: called with the id of a job that could not be ended, and why.
    """

    def __init__(
        self,
        home: Home,
        nonce: int | None,
        mounts: HangingMounts,
        table: JobTable,
        journal: Journal,
        commits: Commits,
        snapshots: Snapshots,
        apply: Apply,
        *,
        wake: Callable[[], None],
        note_start_failed: Callable[[ManagedJob], None],
        note_survivors: Callable[[int, str], None],
    ) -> None:
        become_subreaper()
        self._home, self._nonce, self._table, self._journal = home, nonce, table, journal
        self._commits, self._snapshots, self._apply, self._wake = commits, snapshots, apply, wake
        self.is_attended: Callable[[int], bool] = lambda _: False
        """Whether a client is attached to the terminal of that job."""
        self._mounts = mounts
        self._budget = PipeBudget()
        self._signaller = Signaller(nonce)
        self._lifetimes = JobLifetimes(table.started)
        self._process_scan = ProcessScan(nonce, home.path, self._signaller, table.started, self._lifetimes.of)
        self._terminals = Terminals(journal, table.touch)
        self._children = Children(
            home,
            nonce,
            table.started,
            journal,
            apply,
            self._terminals,
            touch=table.touch,
            note_end=wake,
            note_noticed=lambda: self._stopper.wake(),
        )
        self._create_stopping(note_survivors)
        self._unmarked = UnmarkedKeeper(table, journal, self._process_scan, self.leftovers)
        self._create_monitor()
        self._launcher = self._new_launcher(note_start_failed)
        self.takeover = LocalTakeover(
            table,
            journal,
            apply,
            AdoptedProcesses(self._process_scan, self._children),
            self._children,
            self._monitor,
            self._terminals,
            self._feeds,
            self._launcher,
            self._stopper,
            self.leftovers,
            self._unmarked,
            self._budget,
        )
        self._delegate()

    def _delegate(self) -> None:
        """What a part does as it is asked for."""
        signals = JobSignals(self._home.path, self._process_scan, self._signaller)
        self.signal_leaders, self.signal_tree = signals.to_leaders, signals.to_tree
        self.signal_process, self.leads = signals.to_process, signals.leads
        self.check, self.start, self.slow_start = (
            self._launcher.check,
            self._launcher.start,
            self._launcher.stand_ins_of,
        )
        self.stop, self.skip_grace = self._stopper.begin, self._stopper.skip_grace
        self.stop_of, self.outcome = self._stopper.of, self._stopper.outcome
        self.observe, self.peek, self.see = observation_of, peek, self._monitor.see
        self.processes_of, self.waits_of = self._waits.tree, self._waits.look
        self.note_stop, self.history = self._history_store.note_stop, self._history_store.history
        self.reap = self._children.reap

    def _create_stopping(self, note_survivors: Callable[[int, str], None]) -> None:
        events = StopEvents(
            self._table.started,
            self._journal,
            self._commits,
            self._apply,
            self._children,
            note_left=lambda job, doubt: self.leftovers.note(job, 0, doubt),
            note_survivors=note_survivors,
            wake=self._wake,
        )
        self._stopper = StopSequences(events, self._process_scan, self._signaller, self._home.path)
        self.leftovers = LocalLeftovers(
            self._table,
            self._journal,
            self._snapshots,
            self._apply,
            self._process_scan,
            self._lifetimes,
            self._stopper,
            reap=self._children.reap,
            wake=self._wake,
        )

    def _create_monitor(self) -> None:
        home, table, journal = self._home, self._table, self._journal
        self._feeds = Feeds(home, table.is_unended, journal, self._commits, self._apply)
        self._output_cap = OutputCap(
            home, table, journal, self._snapshots, self._feeds, lambda: self.leftovers.in_hand
        )
        self._truncations = TruncationWatch(
            home,
            journal,
            self._output_cap,
            touch=table.touch,
            note_replaced=lambda job: outputs.reopen(job),
        )
        outputs = OutputWatch(table, journal, home, self._truncations, self._output_cap)
        self._stacks = StackCapture(self._children.reap, self._mounts)
        last_stacks = LastStacks(self._stacks)
        self._history_store = HistoryStore(table, journal, last_stacks, self._snapshots.of)
        self._members = MemberScan(table, self._process_scan)
        self._waits = WaitsOfJobs(table, Holders(os.getpid()))
        stuck = StuckStopper(
            self._history_store,
            last_stacks,
            self._apply,
            commit=self._commits.soon,
            scan=self._members.scan,
            is_attended=lambda job_id: self.is_attended(job_id),
        )
        self._monitor = Monitor(
            table,
            self._members,
            outputs,
            PipeWatch(home, self._waits),
            HealthJudge(table, self._members, self._waits, self._history_store, self._snapshots.snapshot),
            stuck,
            self._history_store,
            after_scan=self.leftovers.check,
        )

    def _new_launcher(self, note_start_failed: Callable[[ManagedJob], None]) -> Launcher:
        return Launcher(
            Starter(self._home, self._nonce, self._budget, self._mounts, self._truncations.watch),
            self._journal,
            self._commits,
            self._apply,
            self._children,
            self._terminals,
            self._feeds,
            self._output_cap,
            whole=lambda job_id: self._snapshots.origin_of(job_id)[0],
            touch=self._table.touch,
            note_failed=note_start_failed,
            make_room=self._wake,
        )

    def tick(self) -> None:
        self._monitor.tick()
        self._unmarked.keep()
        self._children.reap()

    def close(self, job: ManagedJob) -> None:
        self._launcher.end(job)
        self._terminals.end(job)
        self._budget.gave_back(run_of(job).pipe_bytes)
        run_of(job).pipe_bytes = 0
        # Its output is closed before it is measured, and measured before its cap is kept to for the last time.
        self._monitor.finish(job)
        self._output_cap.finish(job)
        self._history_store.finish(job)

    def keep_stdin(self, job: ManagedJob, descriptor: int) -> None:
        run_of(job).stdin_descriptor = descriptor

    def open_input(self, job: ManagedJob) -> tuple[OpenedInput, int]:
        if not job.spec.pty:
            return OpenedInput(), _stdin_of(job)
        terminal = self._terminals.of(job)
        opened = OpenedInput(is_terminal=True, modes=terminal.modes, printed=terminal.printed)
        return opened, terminal.master

    def close_input(self, job: ManagedJob) -> None:
        if job.spec.pty:
            self._terminals.send_end_of_input(job)
            return
        os.close(_stdin_of(job))
        run_of(job).stdin_writer = None

    def look(self, job: ManagedJob) -> None:
        self._members.scan([job])

    async def add_stacks(self, found: Diagnosis, job: ManagedJob, py_spy: str | None) -> Diagnosis:
        return await self._stacks.add_stacks(found, frozenset(run_of(job).members), py_spy)

    def alive(self, jobs: Collection[ManagedJob]) -> Mapping[int, int]:
        return {job_id: len(live_members(seen)) for job_id, seen in self._process_scan.take(jobs).items()}

    def in_doubt(self, job_id: int) -> tuple[Survivor, ...]:
        return in_doubt(self._process_scan.doubtful(job_id), self._process_scan)

    def keep_histories(self) -> None:
        self._history_store.keep_all(is_last=True)


def _stdin_of(job: ManagedJob) -> int:
    writer = run_of(job).stdin_writer
    if writer is None:
        raise NotSoError(f"the stdin of job {job.id} was closed; {HOW_TO_SEND}")
    return writer
