"""Cleaning: ended jobs are deleted by the rules of the user's settings, or as a user asks for it.

What takes long (reading thousands of rows, looking at their files, deleting those) is done by a thread, which touches
nothing of the engine's; the loop goes on meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from functools import partial

from msgspec import Struct, field, structs

from corral.jobs.executor import Executor
from corral.jobs.job_table import JobTable
from corral.journal.commits import Commits
from corral.journal.journal import Journal
from corral.journal.upkeep import Upkeep
from corral.lifecycle.retention_policy import PatientClock
from corral.model.errors import CorralError
from corral.model.home import Home
from corral.model.job import Job
from corral.model.retention import CleanReport, CleanRules
from corral.platform.files.disk_usage import delete_folder
from corral.platform.host import malloc
from corral.platform.host.daemon_log import keep_short, log, log_fault
from corral.retention.clean_settings import CleanSettings
from corral.retention.clean_settings_reader import CleanSettingsReader
from corral.retention.cleaning_plan import CleanRequest, Plan, make_plan
from corral.retention.deletion import Deletion
from corral.retention.needed_jobs import LIVES, NeededJobs

FIRST_SECONDS = 10.0
"""After its start the daemon serves its first clients."""
EVERY_SECONDS = 3600.0
AT_MOST_EVERY_SECONDS = 60.0
"""However fast jobs end."""
AFTER_PLAN_SECONDS = 600.0
"""The user has seen a plan and is about to decide."""
PAGES = 64
"""Pages of the journal given back in one pass of the loop."""
_SOME = 10
"""A tenth of what may stay has newly ended: time to look before the hour is over."""


class Cleaner(Struct, eq=False):
    """Cleans one home: by the rules of the user's settings, and when asked to."""

    _home: Home
    _table: JobTable
    _journal: Journal
    _commits: Commits
    _upkeep: Upkeep
    _executor: Executor
    _needed: NeededJobs
    _deletion: Deletion
    _settings: CleanSettingsReader
    notices: tuple[str, ...] = ()
    """What of the user's settings was not understood, as of the last look."""
    _clock: PatientClock = field(default_factory=lambda: PatientClock(time.time(), _steady()))
    _rules: CleanRules = field(default_factory=CleanRules)
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)
    _many_ended: asyncio.Event = field(default_factory=asyncio.Event)
    _not_before: float = 0.0
    _complaint: str | None = None
    _newly_ended: int = 0
    _new_bytes: int = 0

    def __post_init__(self) -> None:
        keep_short(self._home.daemon_log)

    # ---- by itself

    async def run(self) -> None:
        """Clean by the rules, now and then, for ever."""
        self._take(await self._settings.read())
        await asyncio.sleep(FIRST_SECONDS)
        while True:
            if (patience := self._not_before - time.monotonic()) > 0:
                await asyncio.sleep(patience)
                continue
            try:
                await self.clean_by_rules()
            except CorralError as error:
                self._complain(f"cleaning old jobs: {error}")
            except Exception as error:  # noqa: BLE001  (old jobs that cannot be cleaned must not end the daemon)
                log_fault("cleaning old jobs", error)
            await asyncio.sleep(AT_MOST_EVERY_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVERY_SECONDS - AT_MOST_EVERY_SECONDS):
                    await self._many_ended.wait()

    async def clean_by_rules(self) -> CleanReport:
        """What the daemon does by itself. What a dashboard shows now is spared. Raises JournalError."""
        self._many_ended.clear()
        self._newly_ended = self._new_bytes = 0
        report = await self.clean(CleanRequest(is_by_itself=True))
        count = sum(share.jobs for share in report.shares)
        if count:
            parts = ", ".join(f"{share.jobs} by {share.rule}" for share in report.shares if share.jobs)
            size = sum(share.size for share in report.shares)
            log(f"cleaned {count} old jobs ({parts}); {size / (1 << 20):.1f} MiB of output are gone")
            # What thousands of rows took for a moment, in the arena of a thread for the most part.
            malloc.collect_garbage()
        if report.errors:
            self._complain(f"{report.errors[0]} (and {len(report.errors) - 1} more)")
        return report

    def job_ended(self, job: Job) -> None:
        """Many ends, or much output, make the next cleaning come sooner."""
        self._new_bytes += job.stdout_bytes + job.stderr_bytes
        self._new_bytes -= job.stdout_dropped_bytes + job.stderr_dropped_bytes
        self._note_ended(1)

    def jobs_withdrawn(self, job_ids: Sequence[int]) -> None:
        self._note_ended(len(job_ids))

    def _note_ended(self, count: int) -> None:
        self._newly_ended += count
        keep, max_size = self._rules.keep, self._rules.max_size
        if (keep is not None and self._newly_ended * _SOME >= keep) or (
            max_size is not None and self._new_bytes * _SOME >= max_size
        ):
            self._many_ended.set()

    def _complain(self, text: str) -> None:
        """Once in daemon.log, not each time."""
        if text != self._complaint:
            self._complaint = text
            log(text)

    # ---- when asked to

    async def plan(self, request: CleanRequest) -> CleanReport:
        """What would be deleted. Raises JournalError."""
        self._not_before = time.monotonic() + AFTER_PLAN_SECONDS
        return (await self._planned(request._replace(is_plan=True))).report

    async def clean(self, request: CleanRequest) -> CleanReport:
        """Delete it. One that is cancelled stops between two batches. Raises JournalError."""
        async with self._one_at_a_time:
            plan = await self._planned(request)
            spare = partial(self._needed.includes, shown=request.is_by_itself)
            gone, errors = await self._deletion.delete(list(plan.going), spare=spare)
            folders = []
            for folder in plan.report.folders:
                problem = await asyncio.to_thread(delete_folder, self._home.job(folder.name))
                if problem is None:
                    folders.append(folder)
                else:
                    errors.append(problem)
            await self._give_back_room(has_removed=bool(gone))
        return structs.replace(
            plan.report, shares=plan.shares(set(gone)), folders=tuple(folders), errors=tuple(errors)
        )

    async def _planned(self, request: CleanRequest) -> Plan:
        self._executor.leftovers.check()
        self._commits.soon()
        marked = self._executor.alive([])
        needed = self._needed.all(shown=request.is_by_itself) | dict.fromkeys(marked, LIVES)
        settings = await self._settings.read()
        self._take(settings)
        now = time.time() if request.is_selection else self._clock.now(time.time(), _steady())
        plan = await asyncio.to_thread(make_plan, self._home, settings.rules, request, now, needed)
        notices = () if request.is_selection else settings.notices
        return plan._replace(report=structs.replace(plan.report, notices=notices))

    def _take(self, settings: CleanSettings) -> None:
        self._rules = settings.rules
        for notice in settings.notices:
            if notice not in self.notices:
                log(f"settings: {notice}")
        self.notices = settings.notices

    async def _give_back_room(self, *, has_removed: bool) -> None:
        """What rows took that were deleted, lately or before, a few pages at a time."""
        try:
            while self._journal.incremental_vacuum(PAGES):
                has_removed = True
                await asyncio.sleep(0)
            if has_removed:
                self._journal.drop_unused()
                await self._upkeep.make_small(is_idle=self._table.is_empty)
        except CorralError as error:
            # A full disk: the jobs are deleted, and the next cleaning tries this again.
            self._complain(f"giving back the room of old jobs: {error}")


def _steady() -> float:
    """Seconds that count the sleep of the machine where the system has such a clock (clock_gettime(2))."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)
