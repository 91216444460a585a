"""The executor of this machine: jobs as child processes of the daemon, found again by their marks."""

from __future__ import annotations

from collections.abc import Callable

from corral.decide.store import Journal
from corral.manage.births import Births
from corral.manage.capping import Capping
from corral.manage.census import Census
from corral.manage.children import Children
from corral.manage.commits import Commits
from corral.manage.feeding import Feeds
from corral.manage.jobs import ManagedJob
from corral.manage.jobtable import JobTable
from corral.manage.launching import Launcher
from corral.manage.leftovers import Leftovers
from corral.manage.snapshots import Snapshots
from corral.manage.starting import Starter
from corral.manage.stopevents import StopEvents
from corral.manage.stopping import Stopper
from corral.manage.terminals import Terminals
from corral.manage.transitions import Apply
from corral.manage.truncations import Truncations
from corral.manage.unmarked import UnmarkedKeeper
from corral.system.mounts import HangingMounts
from corral.system.pipes import PipeBudget
from corral.system.prctl import become_subreaper
from corral.system.signals import Signaller
from corral.values.home import Home


class LocalExecutor:
    """Creates and connects all that starts, counts, signals and reaps processes.

    Args:
        nonce: of this home's marks; None where marks do not work.
        wake: called when a start may be due.
        note_start_failed: called when the start of a job has failed, whatever of it still runs.
        note_survivors: called with the id of a job that could not be ended, and why.
        note_replaced: called with a job of whose output files one was removed, or another file put in its place.
    """

    def __init__(
        self,
        home: Home,
        nonce: int | None,
        table: JobTable,
        journal: Journal,
        commits: Commits,
        snapshots: Snapshots,
        apply: Apply,
        *,
        wake: Callable[[], None],
        note_start_failed: Callable[[ManagedJob], None],
        note_survivors: Callable[[int, str], None],
        note_replaced: Callable[[ManagedJob], None],
    ) -> None:
        become_subreaper()
        self.budget = PipeBudget()
        self.mounts = HangingMounts(home.path)
        self.signaller = Signaller(nonce)
        self.births = Births(table.begun)
        self.census = Census(nonce, home.path, self.signaller, table.begun, self.births.of)
        self.terminals = Terminals(journal, table.touch)
        self.children = Children(
            home,
            nonce,
            table.begun,
            journal,
            apply,
            self.terminals,
            touch=table.touch,
            note_end=wake,
            note_noticed=lambda: self.stopper.wake(),
        )
        stop_events = StopEvents(
            table.begun,
            journal,
            commits,
            apply,
            self.children,
            note_left=lambda job, doubt: self.leftovers.note(job, 0, doubt),
            note_survivors=note_survivors,
            wake=wake,
        )
        self.stopper = Stopper(stop_events, self.census, self.signaller, home.path)
        self.leftovers = Leftovers(
            table,
            journal,
            snapshots,
            apply,
            self.census,
            self.births,
            self.stopper,
            reap=self.children.reap,
            wake=wake,
        )
        self.unmarked = UnmarkedKeeper(table, journal, self.census, self.leftovers)
        self.feeds = Feeds(home, table.managed, journal, commits, apply)
        self.capping = Capping(home, table, journal, snapshots, self.feeds, lambda: self.leftovers.in_hand)
        self.truncations = Truncations(
            home, journal, self.capping, touch=table.touch, note_replaced=note_replaced
        )
        self.launcher = Launcher(
            Starter(home, nonce, self.budget, self.mounts, self.truncations.watch),
            journal,
            commits,
            apply,
            self.children,
            self.terminals,
            self.feeds,
            self.capping,
            whole=lambda job_id: snapshots.origin_of(job_id)[0],
            touch=table.touch,
            note_failed=note_start_failed,
            make_room=wake,
        )

    def close(self, job: ManagedJob) -> None:
        """Its life is over: close what we hold of it."""
        self.launcher.end(job)
        self.terminals.end(job)
        self.budget.gave_back(job.run.pipe_bytes)
        job.run.pipe_bytes = 0
