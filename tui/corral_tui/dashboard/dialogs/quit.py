"""`Q`: names all that it will end, ends it, shows how, and names what is left before the dashboard leaves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from textual.binding import Binding, BindingType

from corral.client.snapshot import Snapshot
from corral.model.job import Job
from corral.model.reports import StopReport
from corral.protocol.requests import AskStopping, StopJobs
from corral_tui.dashboard.dialogs import stop_text
from corral_tui.dashboard.dialogs.base import BottomDialog, ChoiceButton
from corral_tui.dashboard.dialogs.stop import BY, POLL_SECONDS, is_stoppable
from corral_tui.dashboard.frame.screen import DialogHost
from corral_tui.dashboard.paint.lines import Line, clean, cut, plain, wrapped
from corral_tui.text import numbers
from corral_tui.text.charset import status_of, time_of

ORIGINS = {"command_line": "the command line", "library": "a program", "dashboard": "a dashboard"}

QuitPhase = Literal["question", "going on", "left over"]


def is_of_others(job: Job) -> bool:
    """Whether it was started by something else than a dashboard's prompt."""
    return job.origin != "dashboard" or job.parent is not None


class QuitDialog(BottomDialog):
    """Ends every job it has named, then leaves. A job that starts meanwhile is named before it is ended too."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "yes", show=False),
        Binding("n", "leave", show=False),
        Binding("0", "choose('0')", show=False),
        Binding("s", "skip_grace", show=False),
        Binding("q", "quit_now", show=False),
    ]

    def __init__(self, host: DialogHost) -> None:
        super().__init__(host)
        self.phase: QuitPhase = "question"
        self.jobs: tuple[Job, ...] = self._stoppable(host.snapshot)
        self.job_ids = tuple(job.id for job in self.jobs)
        self.reports: dict[str, StopReport] = {}

    @staticmethod
    def _stoppable(snapshot: Snapshot) -> tuple[Job, ...]:
        return tuple(job for job in snapshot.jobs.values() if is_stoppable(job))

    # ---- its life ----

    def on_mount(self) -> None:
        self.set_interval(POLL_SECONDS, self._poll_once)
        self.call_after_refresh(lambda: [one.focus() for one in self.choices() if one.key == "n"])

    def snapshot_applied(self, snapshot: Snapshot) -> None:
        if self.phase == "question":
            self.jobs = tuple(job for job in self._stoppable(snapshot) if job.id in self.job_ids)
            self.job_ids = tuple(job.id for job in self.jobs)
        self.redraw()

    def _start(self, grace: float | None) -> None:
        if not self.job_ids:
            self._quit()
            return
        self.run_worker(self._begin(grace), group="begin", exclusive=True)

    async def _begin(self, grace: float | None) -> None:
        reply = await self.ask(StopJobs(ids=self.job_ids, grace=grace, wait=False, by=BY))
        if reply is None:
            return
        self.problem = None
        self.reports |= {report.id: report for report in reply.reports}
        if self.phase == "question":
            self.end_asking()
        self.phase = "going on"
        self.redraw()

    async def _poll_once(self) -> None:
        """Textual awaits a timer's callback before the next tick, so two polls never overlap."""
        if self.phase == "question":
            return
        reply = await self.ask(AskStopping(ids=self.job_ids))
        if reply is None:
            return
        self.reports |= {report.id: report for report in reply.reports}
        if all(report.nothing_is_left for report in reply.reports):
            self._all_ended()
        elif self.phase == "going on" and all(_is_given_up(report) for report in reply.reports):
            self.phase = "left over"
        self.redraw()

    def _all_ended(self) -> None:
        started_since = [job for job in self._stoppable(self.host.snapshot) if job.id not in self.job_ids]
        if not started_since:
            self._quit()
            return
        self.phase = "left over"

    def _quit(self) -> None:
        self.host.did("app.stop_all", self.job_ids)
        self.app.exit(0)

    # ---- keys ----

    def compose_choices(self) -> Sequence[ChoiceButton]:
        count = numbers.counted(len(self.jobs), "job")
        words = f"end {count} and leave" if self.jobs else "leave"
        return (
            ChoiceButton("y", words, "end all", lambda: self._start(None), id="yes"),
            ChoiceButton("n", "stay, change nothing", "stay", self.leave, id="no"),
            ChoiceButton("0", "kill now, no grace", "kill now", lambda: self._start(0.0), id="now"),
        )

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        possible = {
            "yes": self.phase in ("question", "left over"),
            "choose": self.phase == "question",
            "skip_grace": self.phase == "going on",
            "quit_now": self.phase == "left over",
            "scroll_body": True,
            "next_choice": self.phase == "question",
        }
        return possible.get(action, True)

    def action_yes(self) -> None:
        """On what is left: end also the jobs that started since the question."""
        if self.is_too_soon():
            return
        if self.phase == "question":
            self.choose("y")
            return
        self.jobs = self._stoppable(self.host.snapshot)
        self.job_ids = tuple(job.id for job in self.jobs)
        self.reports = {}
        self._start(None)

    def action_skip_grace(self) -> None:
        self._start(0.0)

    def action_quit_now(self) -> None:
        self._quit()

    # ---- what it says ----

    def title(self) -> tuple[Line, Line]:
        count = numbers.counted(len(self.jobs), "job")
        if self.phase == "question":
            return plain(f"End {count} and leave?", "title"), plain("q leaves and lets them go on", "muted")
        if self.phase == "left over":
            return plain("Not all of it has ended", "title"), []
        gone = sum(report.nothing_is_left for report in self.reports.values())
        return plain(f"Ending {count}", "title"), plain(f"{gone} of {len(self.job_ids)} ended", "muted")

    def keys(self) -> list[tuple[str, str]]:
        if self.phase == "question":
            return [("y", "end all and leave"), ("n", "or esc stay"), ("0", "kill now")]
        if self.phase == "left over":
            return [("y", "end these too"), ("q", "leave; Corral goes on looking"), ("esc", "stay")]
        return [("s", "skip the grace"), ("esc", "stay (the stopping goes on)")]

    def body_lines(self, width: int) -> list[Line]:
        if self.phase == "question":
            return self._question_lines(width)
        if self.phase == "left over":
            return self._left_lines(width)
        titles = {job.id: clean(job.title) for job in self.jobs}
        charset = self.host.charset
        reports = sorted(self.reports.values(), key=lambda one: one.nothing_is_left)
        return [stop_text.report_line(one, titles.get(one.id, ""), width, charset) for one in reports]

    def _question_lines(self, width: int) -> list[Line]:
        if not self.jobs:
            return [plain(" Nothing runs.")]
        now, charset = self.host.clock(), self.host.charset
        lines: list[Line] = []
        others = [job for job in self.jobs if is_of_others(job)]
        count = sum(job.processes or job.leftovers for job in self.jobs)
        processes = numbers.counted(count, "process")
        lines += wrapped(f"{processes}. Each job's own stop signal, then KILL after its grace.", width)
        if others:
            were = "was" if len(others) == 1 else "were"
            words = f"{len(others)} of them {were} started by others (scripts, another dashboard)."
            lines.append(plain(f" {words}", "accent"))
        for job in self.jobs:
            status = status_of(job, now, charset)
            origin = ""
            if is_of_others(job):
                origin = f"   from {ORIGINS.get(job.origin, job.origin)}"
                origin += f", within {job.parent}" if job.parent else ""
            name = f"   {job.id:>4} {numbers.left(numbers.cut_middle(clean(job.title), 20), 20)} "
            words = f"{numbers.left(status.word, 12)} {time_of(job, now):>6}"
            lines.append(
                cut([(name, "plain"), (words, "muted"), (origin, "accent")], width, charset.ellipsis)
            )
        return lines

    def _left_lines(self, width: int) -> list[Line]:
        titles = {job.id: clean(job.title) for job in self.jobs}
        lines: list[Line] = []
        for report in self.reports.values():
            if not report.nothing_is_left:
                lines.append(plain(f" {report.id} {titles.get(report.id, '')} could not be ended:", "bold"))
                lines += stop_text.survivor_lines(report, width)
        for job in self._stoppable(self.host.snapshot):
            if job.id not in self.job_ids:
                lines.append(plain(f" {job.id} {clean(job.title)} started meanwhile.", "bold"))
        return lines


def _is_given_up(report: StopReport) -> bool:
    """Nothing is left of it, or what is left cannot be ended, or may not be its own: it is named."""
    return report.nothing_is_left or (bool(report.left) and report.kill_in is None)
