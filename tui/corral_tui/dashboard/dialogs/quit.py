"""`Q`: names all that it will end, ends it, shows how, and names what is left before the dashboard leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from corral.client.snapshot import Snapshot
from corral.model.job import Job
from corral.model.reports import StopReport
from corral_tui.dashboard.dialogs import stop_text
from corral_tui.dashboard.dialogs.base import ChoiceButton
from corral_tui.dashboard.dialogs.stopping import StoppingDialog, is_stoppable
from corral_tui.dashboard.frame.screen import Host
from corral_tui.dashboard.paint.lines import Line, clean, cut, plain, wrapped
from corral_tui.text import numbers
from corral_tui.text.charset import status_of, time_of

ORIGINS = {"command_line": "the command line", "library": "a program", "dashboard": "a dashboard"}

QuitPhase = Literal["question", "going on", "left over"]


def is_of_others(job: Job) -> bool:
    """Whether it was started by something else than a dashboard's prompt."""
    return job.origin != "dashboard" or job.parent is not None


class QuitDialog(StoppingDialog):
    """Ends every job it has named, then leaves. A job that starts meanwhile is named before it is ended too."""

    def __init__(self, host: Host) -> None:
        super().__init__(host, _stoppable(host.snapshot))
        self.phase: QuitPhase = "question"

    # ---- its life ----

    def on_mount(self) -> None:
        self.focus_choice("n")

    def snapshot_applied(self, snapshot: Snapshot) -> None:
        if self.phase == "question":
            self.name_jobs(job for job in _stoppable(snapshot) if job.id in self.job_ids)
        self.redraw()

    def _end_all(self, grace: float | None = None) -> None:
        if self.job_ids:
            self.stop_jobs(grace)
        else:
            self._quit()

    def has_begun(self) -> None:
        if self.phase == "question":
            self.end_asking()
        self.phase = "going on"
        self.redraw()

    async def poll(self) -> None:
        if self.phase != "question":
            await super().poll()

    def has_looked(self, reports: tuple[StopReport, ...]) -> None:
        if all(report.nothing_is_left for report in reports):
            if self._started_since():
                self.phase = "left over"
            else:
                self._quit()
        elif self.phase == "going on" and all(_is_given_up(report) for report in reports):
            self.phase = "left over"

    def _started_since(self) -> list[Job]:
        return [job for job in _stoppable(self.host.snapshot) if job.id not in self.job_ids]

    def _quit(self) -> None:
        self.host.did("app.stop_all", self.job_ids)
        self.app.exit(0)

    # ---- keys ----

    def compose_choices(self) -> Sequence[ChoiceButton]:
        count = numbers.counted(len(self.jobs), "job")
        words = f"end {count} and leave" if self.jobs else "leave"
        return (
            ChoiceButton("y", words, "end all", self._end_all, id="yes"),
            ChoiceButton("n", "stay, change nothing", "stay", self.leave, id="no"),
            ChoiceButton("0", "kill now, no grace", "kill now", self._kill_all, id="now"),
        )

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action == "scroll_body" or super().check_action(action, parameters)

    def answers(self) -> Mapping[str, Callable[[], None]]:
        of_phase: dict[QuitPhase, dict[str, Callable[[], None]]] = {
            "question": {"y": self._end_all, "0": self._kill_all},
            "going on": {"s": self._kill_all},
            "left over": {"y": self._end_rest, "q": self._quit},
        }
        return {"n": self.leave, **of_phase[self.phase]}

    def _kill_all(self) -> None:
        self._end_all(0.0)

    def _end_rest(self) -> None:
        """End what is left, and the jobs that started since the question."""
        self.name_jobs(_stoppable(self.host.snapshot))
        self.reports = {}
        self._end_all()

    # ---- what it says ----

    def title(self) -> tuple[str, str]:
        count = numbers.counted(len(self.jobs), "job")
        if self.phase == "question":
            return f"End {count} and leave?", "q leaves and lets them go on"
        if self.phase == "left over":
            return "Not all of it has ended", ""
        gone = sum(report.nothing_is_left for report in self.reports.values())
        return f"Ending {count}", f"{gone} of {len(self.job_ids)} ended"

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
        return self.report_lines(sorted(self.reports.values(), key=lambda one: one.nothing_is_left), width)

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
        started = [f" {job.id} {clean(job.title)} started meanwhile." for job in self._started_since()]
        return [*lines, *(plain(words, "bold") for words in started)]


def _stoppable(snapshot: Snapshot) -> list[Job]:
    return [job for job in snapshot.jobs.values() if is_stoppable(job)]


def _is_given_up(report: StopReport) -> bool:
    """Nothing is left of it, or what is left cannot be ended, or may not be its own: it is named."""
    return report.nothing_is_left or (bool(report.left) and report.kill_in is None)
