"""The demo on a terminal: the dashboard with real jobs, a line that says what to try, and a report at the end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from corral.library.options import Options
from corral.model.errors import CannotStartError
from corral_tui.blocked_terminal import LastResort
from corral_tui.cli.support.errors import INTERRUPTED
from corral_tui.demo import feeding
from corral_tui.demo.checks import KINDS, Bench, Finding, check
from corral_tui.demo.ending import DemoSummary, end
from corral_tui.demo.jobs import SWEEP, SWEEP_COMMAND, SWEEP_INPUTS, DemoJob, long_jobs
from corral_tui.demo.own_daemon import DIRECTORY, GRACE, DemoManager
from corral_tui.demo.steps import StepProgress
from corral_tui.demo.tools import Tools, find_tools, password_environment
from corral_tui.lazy import load
from corral_tui.text.charset import Charset
from corral_tui.text.numbers import counted
from corral_tui.text.terminal_output import note, say, visible, width_of

FEED_PAUSE = 0.1
"""Seconds between two chunks: 100 MB then take 40 s."""
TRY_AFTER = 5.0
"""Seconds until the first thing to try is shown; before that the line shows what ended as expected."""
YOUR_OWN = "Your own:  corral run make -j8   ·   corral"


def run_on_screen() -> int:
    """Run the demo. Returns 1 if something is left or the screen crashed, 128 + n if signal n ended it."""
    status, ending = asyncio.run(_run())
    with contextlib.suppress(OSError):  # EIO: the terminal has gone, as after SIGHUP
        for line in ending.left:
            say(f"  {line}")
        over = f"Demo over: {ending.sentence}"
        is_narrow = len(over) + len(YOUR_OWN) + 2 > (width_of(sys.stdout) or 1000)
        say(*(over, YOUR_OWN) if is_narrow else (f"{over}  {YOUR_OWN}",))
        sys.stdout.flush()
    return 1 if ending.left else status


async def _run() -> tuple[int, DemoSummary]:
    manager = DemoManager()
    finding_tools = asyncio.ensure_future(asyncio.to_thread(find_tools))
    async with manager:
        show = Show(manager)
        try:
            status = await show.run(finding_tools)
        except asyncio.CancelledError:
            # asyncio.Runner turns a Ctrl-C before the screen is up into this.
            status = INTERRUPTED
        finally:
            with _uninterrupted():
                await show.settle()
                _announce_end(manager)
                ending = await end(manager.session)
    return status, ending


def _announce_end(manager: DemoManager) -> None:
    left = sum(not job.is_ended for job in manager.session.snapshot.jobs.values())
    with contextlib.suppress(OSError):
        note(f"Ending {counted(left, 'job')}; what ignores TERM is killed after {GRACE:g} s.")


class Dashboard(Protocol):
    """What the demo needs of the dashboard."""

    strip: str | None

    @property
    def charset(self) -> Charset: ...
    @property
    def last_resort(self) -> LastResort: ...
    def on_action(self, callback: Callable[[str, tuple[str, ...]], None]) -> None: ...
    def call_later(self, callback: Callable[..., None], *args: Any) -> object: ...


class Show:
    """The jobs and checks that run behind the dashboard."""

    def __init__(self, manager: DemoManager) -> None:
        self.manager = manager
        self.progress = StepProgress(self._name_of)
        self._began = time.monotonic()
        self._long: list[str] = []
        self._findings: list[Finding] = []
        self._app: Dashboard | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self, finding_tools: asyncio.Future[Tools]) -> int:
        """Show the dashboard until the user leaves it. Returns its exit status."""
        importing = asyncio.ensure_future(asyncio.to_thread(load, "corral_tui.dashboard.start:show"))
        await self.begin(await finding_tools)
        show = await importing
        try:
            status: int = await show(self.manager.session, self.prepare)
        finally:
            if self._app is not None:
                self._app.last_resort.stand_down()  # the jobs are stopped first, which takes up to their grace
        return status

    async def begin(self, tools: Tools) -> None:
        """Start the five long jobs and the batch, and the six kinds in the background."""
        for job in long_jobs(tools):
            await self._start(job)
        sweep = self.manager.each(SWEEP_COMMAND, SWEEP_INPUTS, jobs=2, name=SWEEP, cwd=DIRECTORY)
        self._long.append(await sweep.start())
        self.manager.session.show_only_ended_but(self._long)
        bench = Bench(self.manager, tools, is_thorough=False)
        self._tasks += [
            asyncio.create_task(self._check_all(bench)),
            asyncio.create_task(self._show_strip_later()),
        ]

    async def settle(self) -> None:
        """Cancel the background tasks, and raise their errors."""
        for task in self._tasks:
            task.cancel()
        for outcome in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome

    # ---- jobs ----

    async def _start(self, job: DemoJob) -> None:
        # The screen shows a job that cannot start with the reason.
        with contextlib.suppress(CannotStartError):
            if job.is_fed:
                handle, writer = await self.manager.start_fed(job.command, name=job.name)
                self._tasks.append(asyncio.create_task(_feed_slowly(writer)))
            else:
                handle = await self.manager.start(job.command, **_options(job))
            self._long.append(handle.id)

    async def _check_all(self, bench: Bench) -> None:
        for running in asyncio.as_completed([check(kind, bench) for kind in KINDS]):
            kind, result = await running
            self._findings.append((kind, result))
            verdict = "as expected" if result.agrees else f"NOT as expected ({kind.expected})"
            self.manager.session.explain([job.id for job in result.jobs], f"{verdict}: {result.found}")
            self._show_strip()
        # The reply to a wait may arrive before the snapshot with the end.
        session = self.manager.session
        for job in [job for _, result in self._findings for job in result.jobs]:
            while job.id not in session.snapshot.jobs:
                await session.changed()
        session.show_only_ended_but(None)

    def _name_of(self, job_id: str) -> str | None:
        job = self.manager.session.snapshot.jobs.get(job_id)
        return job.name if job else None

    # ---- the line above the footer ----

    def prepare(self, app: Dashboard) -> None:
        """Connect to the app before it starts: observe actions, and set the line."""
        self._app = app
        app.on_action(self._note)

    def _note(self, action: str, job_ids: tuple[str, ...]) -> None:
        if self.progress.note(action, job_ids):
            self._show_strip()

    async def _show_strip_later(self) -> None:
        await asyncio.sleep(TRY_AFTER)
        self._show_strip()

    def _show_strip(self) -> None:
        """Update the line in the app's own context, which its widgets require."""
        app = self._app
        if app is not None:
            app.call_later(self._set_strip, app)

    def _set_strip(self, app: Dashboard) -> None:
        if time.monotonic() - self._began < TRY_AFTER and not self.progress.done:
            app.strip = findings_line(self._findings)
        else:
            app.strip = self.progress.line(app.charset.succeeded)


def findings_line(findings: list[Finding]) -> str:
    """What ended as expected so far; if something did not, only that."""
    wrong = [f"{kind.name}: {visible(result.found)}" for kind, result in findings if not result.agrees]
    if wrong:
        return f"NOT as expected: {' · '.join(wrong)}"
    return f"As expected: {' · '.join(result.brief or kind.name for kind, result in findings)}"


def _options(job: DemoJob) -> Options:
    options = Options(name=job.name, cwd=DIRECTORY)
    if job.is_asked:
        options["stdin"] = "interactive"
    if job.needs_password:
        options["env"] = password_environment()
    return options


async def _feed_slowly(writer: int) -> None:
    await feeding.feed(writer, feeding.HUNDRED_MEGABYTES, FEED_PAUSE)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ignore signals during the end, which takes no longer than the grace, so that the report is complete."""
    loop = asyncio.get_running_loop()
    before = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.remove_signal_handler(number)
        before[number] = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
