"""Cleaning: ended jobs go by rules, their output first and then their rows, a few at a time.

The output goes first, so that a crash between the two leaves a row, which the next run takes again, and never a folder
that nobody knows. What lasts (reading thousands of rows, looking at their files, deleting those) is done by a thread,
which touches nothing of the manager's; the loop goes on meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Collection, Coroutine, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from msgspec import structs

from corral.decide.cleaning import PatientClock
from corral.decide.settings import CleanSettings, parse_settings, read_clean_settings, unreadable_settings
from corral.manage.helping import output_of
from corral.manage.oldjobs import Asked, Plan, make_plan
from corral.system import memory
from corral.system.daemonlog import bound, log, log_fault
from corral.system.destinations import HANGS, destination
from corral.system.disk_usage import delete_folder
from corral.values.errors import CorralError
from corral.values.home import config_path
from corral.values.jobs import Job
from corral.values.rules import CleanReport, CleanRules
from corral.values.spec import JobInput

if TYPE_CHECKING:
    from corral.manage.manager import Manager

FIRST_SECONDS = 10.0
"""After its start the daemon lets its first clients be served."""
EVERY_SECONDS = 3600.0
AT_MOST_EVERY_SECONDS = 60.0
"""However fast jobs end."""
AFTER_PLAN_SECONDS = 600.0
"""A plan was shown to somebody, who is about to decide."""
BATCH = 100
"""Jobs whose rows go in one commit: 5 ms."""
PAGES = 64
"""Pages of the journal given back in one pass of the loop."""
_SOME = 10
"""A tenth of what may stay has newly ended: time to look before the hour is over."""

_PRINTING = ("/bin/sh", "-c", '! test -e "$1" || exec cat "$1"', "sh")
PATIENCE = 10.0
"""Seconds for the settings on a file system that may hang."""
LONGEST_SETTINGS = 1 << 20

LIVES = "processes of it are alive"
IS_READ = "a job that has not ended reads its output"
IS_AWAITED = "a queued job waits for it"
IS_WAITED_FOR = "a client waits for it"
IS_SHOWN = "a dashboard shows it"


class Cleaner:
    """Cleans the home of one manager: by the rules of the user's settings, and when asked to."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        bound(manager.home.daemon_log)
        self.going: set[int] = set()
        """Jobs whose output is being deleted, or whose rows a full disk still keeps: nothing may refer to them."""
        self.notices: tuple[str, ...] = ()
        """What of the user's settings was not understood, as of the last look."""
        self._held: Counter[int] = Counter()
        self._clock = PatientClock(time.time(), _steady())
        self._rules = CleanRules()
        self._one_at_a_time = asyncio.Lock()
        self._batches: set[asyncio.Future[tuple[list[int], list[str]]]] = set()
        self._many_ended = asyncio.Event()
        self._newly_ended = self._new_bytes = 0
        self._not_before = 0.0
        self._told: str | None = None

    # ---- by itself

    async def run(self) -> None:
        """Clean by the rules, now and then, for ever."""
        self._take(await self._settings())
        await asyncio.sleep(FIRST_SECONDS)
        while True:
            if (patience := self._not_before - time.monotonic()) > 0:
                await asyncio.sleep(patience)
                continue
            try:
                await self.clean_by_rules()
            except CorralError as error:
                self._tell_once(f"cleaning old jobs: {error}")
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
        report = await self._clean(Asked(is_by_itself=True))
        count = sum(share.jobs for share in report.shares)
        if count:
            parts = ", ".join(f"{share.jobs} by {share.rule}" for share in report.shares if share.jobs)
            size = sum(share.size for share in report.shares)
            log(f"cleaned {count} old jobs ({parts}); {size / (1 << 20):.1f} MiB of output are gone")
            # What thousands of rows took for a moment, in the arena of a thread for the most part.
            memory.collect()
        if report.errors:
            self._tell_once(f"{report.errors[0]} (and {len(report.errors) - 1} more)")
        return report

    def note_ended(self, view: Job) -> None:
        """A job has ended; many, or much output, bring the next run about."""
        self._newly_ended += 1
        self._new_bytes += view.stdout_bytes + view.stderr_bytes
        self._new_bytes -= view.stdout_dropped_bytes + view.stderr_dropped_bytes
        keep, max_size = self._rules.keep, self._rules.max_size
        if (keep is not None and self._newly_ended * _SOME >= keep) or (
            max_size is not None and self._new_bytes * _SOME >= max_size
        ):
            self._many_ended.set()

    def _tell_once(self, text: str) -> None:
        if text != self._told:
            self._told = text
            log(text)

    # ---- when asked to

    async def plan(self, asked: Asked) -> CleanReport:
        """What would go. Raises JournalError."""
        self._not_before = time.monotonic() + AFTER_PLAN_SECONDS
        return (await self._planned(asked._replace(is_plan=True))).report

    async def clean(self, asked: Asked) -> CleanReport:
        """Let it go. One that is cancelled stops between two batches. Raises JournalError."""
        return await self._clean(asked)

    @contextlib.contextmanager
    def holding(self, job_ids: Iterable[int]) -> Iterator[None]:
        """Spare these jobs meanwhile: a client is to be told of them."""
        held = list(job_ids)
        self._held.update(held)
        try:
            yield
        finally:
            self._held.subtract(held)
            self._held += Counter()

    def needed(self, *, shown: bool) -> dict[int, str]:
        """The ended jobs that somebody needs, with the reason; with `shown`, those on a screen too."""
        manager = self._manager
        reasons: dict[int, str] = dict.fromkeys(manager.monitor.looked_at, IS_SHOWN) if shown else {}
        reasons.update(dict.fromkeys(self._held, IS_WAITED_FOR))
        for job in manager.jobs.values():
            if job.life.is_ended:
                reasons[job.id] = LIVES
                continue
            if job.life.state == "queued":
                reasons.update((int(reference), IS_AWAITED) for reference in job.spec.after)
            if isinstance(job.spec.stdin, JobInput):
                reasons[int(job.spec.stdin.job)] = IS_READ
        return reasons

    # ---- doing it

    async def _planned(self, asked: Asked) -> Plan:
        manager = self._manager
        manager.leftovers.check()
        manager.commit_soon()
        marked = manager.census.take([])
        needed = self.needed(shown=asked.is_by_itself) | dict.fromkeys(marked, LIVES)
        settings = await self._settings()
        self._take(settings)
        now = time.time() if asked.is_selection else self._clock.now(time.time(), _steady())
        plan = await asyncio.to_thread(make_plan, manager.home, settings.rules, asked, now, needed)
        notices = () if asked.is_selection else settings.notices
        return plan._replace(report=structs.replace(plan.report, notices=notices))

    async def _settings(self) -> CleanSettings:
        """As they are now. A thread that waits for a dead file server could not be ended, and the daemon not without it."""
        path = config_path()
        if destination(path, self._manager.mounts.may_hang).kind != HANGS:
            return await asyncio.to_thread(read_clean_settings, path)
        try:
            said = await output_of(
                (*_PRINTING, path), PATIENCE, LONGEST_SETTINGS, self._manager.children.reap
            )
        except OSError as error:
            return unreadable_settings(path, error.strerror or str(error))
        if not said.is_whole:
            return unreadable_settings(path, "its file system does not answer")
        error_line = said.err.decode(errors="replace").strip()
        return unreadable_settings(path, error_line) if error_line else parse_settings(said.out, path)

    def _take(self, settings: CleanSettings) -> None:
        self._rules = settings.rules
        for notice in settings.notices:
            if notice not in self.notices:
                log(f"settings: {notice}")
        self.notices = settings.notices

    async def _clean(self, asked: Asked) -> CleanReport:
        async with self._one_at_a_time:
            plan = await self._planned(asked)
            ids, gone, errors = list(plan.going), set[int](), list[str]()
            for start in range(0, len(ids), BATCH):
                batch = ids[start : start + BATCH]
                done, problems = await self._whole(self._clean_some(batch, shown=asked.is_by_itself))
                gone.update(done)
                errors += problems
            folders = []
            for folder in plan.report.folders:
                problem = await asyncio.to_thread(delete_folder, self._manager.home.job(folder.name))
                if problem is None:
                    folders.append(folder)
                else:
                    errors.append(problem)
            await self._give_back(has_removed=bool(gone))
        return structs.replace(
            plan.report, shares=plan.shares(gone), folders=tuple(folders), errors=tuple(errors)
        )

    async def delete(self, job_ids: Sequence[int]) -> tuple[list[int], list[str]]:
        """Delete jobs that have ended, whoever needs them: those that are gone, and a line for each that could not be."""
        gone, errors = list[int](), list[str]()
        for start in range(0, len(job_ids), BATCH):
            done, problems = await self._whole(self._delete(job_ids[start : start + BATCH]))
            gone += done
            errors += problems
        return gone, errors

    async def _whole(
        self, work: Coroutine[None, None, tuple[list[int], list[str]]]
    ) -> tuple[list[int], list[str]]:
        """Who asked may leave meanwhile: what is half deleted is deleted all the same."""
        batch = asyncio.ensure_future(work)
        self._batches.add(batch)
        batch.add_done_callback(self._batches.discard)
        return await asyncio.shield(batch)

    async def _clean_some(self, job_ids: Sequence[int], *, shown: bool) -> tuple[list[int], list[str]]:
        needed = self.needed(shown=shown)
        return await self._delete([job_id for job_id in job_ids if job_id not in needed])

    async def _delete(self, batch: Sequence[int]) -> tuple[list[int], list[str]]:
        """The output of these jobs, then their rows. Of 60,000 files the loop does not wait for one."""
        manager = self._manager
        manager.fail_waiters()
        self.going.update(batch)
        problems = await asyncio.to_thread(_delete_all, [manager.home.job(job_id) for job_id in batch])
        gone = [job_id for job_id, problem in zip(batch, problems, strict=True) if problem is None]
        manager.journal.remove(gone)
        for job_id in gone:
            manager.leftovers.let_go(job_id)
        manager.note_removed(gone)
        if manager.commit_soon():
            self.going.difference_update(batch)
        return gone, [problem for problem in problems if problem is not None]

    async def _give_back(self, *, has_removed: bool) -> None:
        """The room of rows that were deleted, lately or before, a few pages at a time."""
        manager = self._manager
        try:
            while manager.journal.incremental_vacuum(PAGES):
                has_removed = True
                await asyncio.sleep(0)
            if has_removed:
                manager.journal.drop_unused()
                await manager.upkeep.make_small(is_idle=not manager.jobs)
        except CorralError as error:
            # A full disk: what was to go is gone, and the next run tries this again.
            self._tell_once(f"giving back the room of old jobs: {error}")

    async def end(self) -> None:
        """Wait for what is half deleted."""
        if self._batches:
            await asyncio.wait(list(self._batches))


def _delete_all(paths: Collection[str]) -> list[str | None]:
    return [delete_folder(path) for path in paths]


def _steady() -> float:
    """Seconds that count the sleep of the machine where the system has such a clock (clock_gettime(2))."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)
