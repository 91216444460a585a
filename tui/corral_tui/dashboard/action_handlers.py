"""What the keys do on the board and on an opened job alike: ask the daemon, or show the dialog that asks the user."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol

from textual.app import SuspendNotSupported
from textual.screen import Screen

from corral.model.errors import CorralError
from corral.model.job import Job
from corral.model.urgency import needs_a_human
from corral.protocol.requests import (
    HideJobs,
    Outcome,
    PauseJobs,
    Reply_,
    Request,
    RestartJobs,
    ResumeJobs,
)
from corral_tui.dashboard.attach_subprocess import hand_over
from corral_tui.dashboard.dialogs.answer import AnswerDialog
from corral_tui.dashboard.dialogs.quit import QuitDialog
from corral_tui.dashboard.dialogs.restart import RestartDialog
from corral_tui.dashboard.dialogs.signal import SignalDialog
from corral_tui.dashboard.dialogs.stop import StopDialog
from corral_tui.dashboard.frame.actions import Context
from corral_tui.dashboard.frame.screen import Host
from corral_tui.dashboard.help import HelpScreen
from corral_tui.dashboard.notifications import Notifications
from corral_tui.dashboard.paint.job_words import end_reason
from corral_tui.dashboard.paint.lines import clean
from corral_tui.dashboard.palette import Palette
from corral_tui.dashboard.prompt.prompt import PromptDialog
from corral_tui.text.charset import time_of
from corral_tui.text.numbers import counted


class ActionHost(Host, Protocol):
    """What the actions ask besides: Textual's own means, for the most part."""

    @property
    def leaving_by(self) -> int | None: ...
    @property
    def notices(self) -> Notifications: ...
    def run_worker(self, work: Coroutine[Any, Any, None], *, group: str) -> object: ...
    def push_screen(self, screen: Screen[Any]) -> object: ...
    def copy_to_clipboard(self, text: str) -> None: ...
    def suspend(self) -> AbstractContextManager[None]: ...
    def action_suspend_process(self) -> None: ...
    def exit(self, result: int) -> None: ...


class ActionHandlers:
    """One method an action. Whether it is possible was asked before."""

    def __init__(self, host: ActionHost) -> None:
        self._host = host
        self._by_id: dict[str, Callable[[Context], None]] = {
            "job.new": self.new,
            "job.chain": self.chain,
            "job.stop": self.stop,
            "job.pause": self.pause,
            "job.restart": self.restart,
            "job.why": self.why,
            "job.open": self.open,
            "job.signal": self.signal,
            "job.attach": self.attach,
            "job.hide": self.hide,
            "job.copy": self.copy,
            "app.palette": self.palette,
            "app.help": self.help,
            "app.leave": lambda context: host.exit(0),
            "app.stop_all": self.stop_all,
            "app.hint": self.hint,
            "app.suspend": lambda context: host.action_suspend_process(),
        }

    def do(self, action_id: str, context: Context) -> bool:
        """Do it; False where this is nothing that is done here."""
        doer = self._by_id.get(action_id)
        if doer is None:
            return False
        doer(context)
        return True

    # ---- dialogs ----

    def new(self, context: Context) -> None:
        self._host.show_dialog(PromptDialog(self._host, None))

    def chain(self, context: Context) -> None:
        if context.job:
            self._host.show_dialog(PromptDialog(self._host, context.job.id))

    def stop(self, context: Context) -> None:
        ids = tuple(job.id for job in context.targets)
        self._host.show_dialog(StopDialog(self._host, ids, hidden_by_filter=tuple(context.hidden)))

    def signal(self, context: Context) -> None:
        if context.job:
            self._host.show_dialog(SignalDialog(self._host, context.job.id))

    def stop_all(self, context: Context) -> None:
        self._host.show_dialog(QuitDialog(self._host))

    def restart(self, context: Context) -> None:
        job = context.job
        if job is None:
            return
        if job.is_ended or not self._host.settings.asks:
            self._host.run_worker(self._restart(job), group="keys")
            return
        self._host.show_dialog(RestartDialog(self._host, job.id))

    async def _restart(self, job: Job) -> None:
        started = await self._reply(RestartJobs(ids=(job.id,)))
        if started is None:
            return
        for new_id in started.ids:
            self._host.say(f"{new_id} {clean(job.title)} runs again, as {job.id} did")
            self._host.select_job(new_id)
        self._host.did("job.restart", (job.id,))

    # ---- at once ----

    def pause(self, context: Context) -> None:
        """Pause what runs; where all is paused, let it go on."""
        running = tuple(job.id for job in context.targets if job.state == "running")
        paused = tuple(job.id for job in context.targets if job.state == "paused")
        if running:
            self._ask(PauseJobs(ids=running), f"paused {self._named(running)}; p lets it go on")
        else:
            self._ask(ResumeJobs(ids=paused), f"{self._named(paused)} goes on")
        self._host.did("job.pause", running or paused)

    def hide(self, context: Context) -> None:
        ids = tuple(job.id for job in context.targets if job.is_ended)
        self._ask(HideJobs(ids=ids), f"{self._named(ids)} is off the list; nothing was deleted")
        self._host.did("job.hide", ids)

    def copy(self, context: Context) -> None:
        job = context.job
        if job is None:
            return
        self._host.copy_to_clipboard(summary_of(job, self._host.clock()))
        self._host.say(f"copied the summary of {self._named((job.id,))}")

    def hint(self, context: Context) -> None:
        """ctrl+c ends nothing; it says what does."""
        what = "ends all jobs" if self._host.source.is_private else "jobs go on"
        self._host.say(f"q leaves, {what} · s stops one")

    # ---- screens ----

    def open(self, context: Context) -> None:
        if context.job:
            self._host.open_job(context.job.id)
            self._host.did("job.open", (context.job.id,))

    def why(self, context: Context) -> None:
        if context.job:
            self._host.open_job(context.job.id, "why")
            self._host.did("job.why", (context.job.id,))

    def palette(self, context: Context) -> None:
        self._host.push_screen(Palette())

    def help(self, context: Context) -> None:
        host = self._host
        host.push_screen(HelpScreen(context.scope, host.charset, is_private=host.source.is_private))

    def attach(self, context: Context) -> None:
        """The terminal is the job's until it is detached: by our own command line, in our place. Without one: a line."""
        job = context.job
        if job is None:
            return
        if not job.pty:
            self._host.show_dialog(AnswerDialog(self._host, job.id))
            return
        try:
            with self._host.suspend():
                words = hand_over(
                    self._host.source.home, job.id, is_leaving=lambda: self._host.leaving_by is not None
                )
        except SuspendNotSupported:
            self._host.say(f"attach does not work in this terminal; in another one: corral attach {job.id}")
            return
        except CorralError as error:
            self._host.say(str(error))
            return
        self._host.notices.saw(job.id)
        if words:
            self._host.say(clean(words))
        self._host.did("job.attach", (job.id,))

    # ---- asking ----

    def _ask(self, request: Request[Reply_], done: str) -> None:
        self._host.run_worker(self._ask_and_say(request, done), group="keys")

    async def _ask_and_say(self, request: Request[Reply_], done: str) -> None:
        reply = await self._reply(request)
        if reply is None:
            return
        if isinstance(reply, Outcome) and reply.errors:
            self._host.say(reply.errors[0])
            return
        self._host.say(done)

    async def _reply(self, request: Request[Reply_]) -> Reply_ | None:
        try:
            return await self._host.source.call(request)
        except CorralError as error:
            self._host.say(str(error))
            return None

    def _named(self, ids: tuple[str, ...]) -> str:
        job = self._host.job(ids[0]) if ids else None
        if len(ids) == 1 and job is not None:
            return f"{job.id} {clean(job.title)}"
        return counted(len(ids), "job")


def summary_of(job: Job, now: datetime) -> str:
    """A few lines about a job, to be pasted somewhere."""
    state = job.state if job.health is None else f"{job.state}, {job.health}"
    lines = [f"{job.id} {job.title}: {state}", f"command: {job.command}", f"directory: {job.cwd}"]
    if job.started is not None:
        lines.append(f"time: {time_of(job, now)}")
    if job.reason or needs_a_human(job):
        lines.append(f"reason: {end_reason(job) or job.summary or 'unknown'}")
    if job.summary and not job.is_ended:
        lines.append(job.summary)
    return "\n".join(lines) + "\n"
