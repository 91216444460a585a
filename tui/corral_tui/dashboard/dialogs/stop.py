"""`s`: asks, naming every process that will end; then shows the stop sequence to the proof that nothing is left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic
from typing import Literal

from corral.client.snapshot import Snapshot
from corral.model.job import STARTED_STATES, Job, ProcessView
from corral.model.reports import StopReport
from corral.protocol.requests import HideJobs, ListProcesses
from corral_tui.dashboard.dialogs import stop_text
from corral_tui.dashboard.dialogs.base import ChoiceButton
from corral_tui.dashboard.dialogs.restart import RestartDialog
from corral_tui.dashboard.dialogs.stopping import StoppingDialog, is_stoppable
from corral_tui.dashboard.frame.screen import Host
from corral_tui.dashboard.paint.lines import Line, clean, cut, plain, spread, wrapped
from corral_tui.text import numbers
from corral_tui.text.charset import status_of, time_of
from corral_tui.text.stop_report import ended_sentence

PROCESSES_EVERY = 4
"""Polls between two looks at what the processes that are left do."""
SEEN_SECONDS = 2.5
"""How long a dialog that has nothing to ask any more says why, before it closes."""
GRACES = (0.0, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0)

StopPhase = Literal["question", "going on", "over", "pointless"]


class StopDialog(StoppingDialog):
    """Stops the jobs it was opened for, and no others, whatever is selected meanwhile."""

    def __init__(self, host: Host, job_ids: Sequence[str], *, hidden_by_filter: Sequence[str] = ()) -> None:
        super().__init__(host, _stoppable(job_ids, host.snapshot))
        self.hidden_by_filter = tuple(each for each in hidden_by_filter if each in self.job_ids)
        self.phase: StopPhase = "question" if self.jobs else "pointless"
        self.grace: float | None = None
        """None until the user changes it: each job's own."""
        self.processes: dict[str, tuple[ProcessView, ...]] = {}
        self.is_asking_again = False
        self._polls = 0

    # ---- its life ----

    def on_mount(self) -> None:
        if self.phase == "pointless":
            self._close_soon()
        elif all(job.state == "stopping" for job in self.jobs):
            self._go_on(asks_again=True)
        elif not self.host.settings.asks:
            self.stop_jobs(self.grace)
        else:
            self.focus_choice("n")
        self.run_worker(self._list_processes(), group="processes", exclusive=True)

    def snapshot_applied(self, snapshot: Snapshot) -> None:
        if self.phase != "question":
            return
        left = _stoppable(self.job_ids, snapshot)
        if left:
            self.name_jobs(left)
        else:
            self.jobs = tuple(job for each in self.job_ids if (job := snapshot.jobs.get(each)))
            self.phase = "pointless"
            self._close_soon()
        self.redraw()

    def _close_soon(self) -> None:
        self.end_asking()
        self.set_timer(SEEN_SECONDS, self.leave)

    async def _list_processes(self) -> None:
        """For a single job; of several their numbers are enough."""
        if len(self.jobs) != 1:
            return
        reply = await self.ask(ListProcesses(job=self.jobs[0].id))
        if reply is not None:
            self.processes[self.jobs[0].id] = reply.processes
            self.redraw()

    def has_begun(self) -> None:
        self.host.did("job.stop", self.job_ids)
        self._go_on()

    def _go_on(self, *, asks_again: bool = False) -> None:
        if self.phase != "going on":
            self.phase = "going on"
            self.end_asking()
        self.is_asking_again = asks_again
        self.redraw()

    async def poll(self) -> None:
        if self.phase != "going on":
            return
        self._polls += 1
        if self._polls % PROCESSES_EVERY == 1:
            await self._list_processes()
        await super().poll()

    def has_looked(self, reports: tuple[StopReport, ...]) -> None:
        if reports and all(report.nothing_is_left for report in reports):
            self.phase = "over"
            self.is_asking_again = False

    # ---- keys ----

    def compose_choices(self) -> Sequence[ChoiceButton]:
        several = len(self.jobs) != 1
        these = f"stop these {len(self.jobs)}" if several else "stop it"
        stay = "leave them" if several else "leave it running"
        return (
            ChoiceButton("y", these, "stop", self._stop, id="yes"),
            ChoiceButton("n", stay, "leave", self.leave, id="no"),
            ChoiceButton("0", "kill now, no grace", "kill now", self._kill, id="now"),
        )

    def answers(self) -> Mapping[str, Callable[[], None]]:
        if self.phase == "question":
            change = {"plus": lambda: self._change_grace(1), "minus": lambda: self._change_grace(-1)}
            return {"y": self._stop, "n": self.leave, "0": self._kill, **change}
        if self.phase == "over":
            single = {"r": self._restart, "enter": self._open} if len(self.jobs) == 1 else {}
            return {"x": self._take_off, **single}
        if self.phase == "pointless":
            return {}
        again = {"y": self._skip_grace, "n": lambda: self._ask_again(False)} if self.is_asking_again else {}
        return {"s": lambda: self._ask_again(True), **again}

    def _stop(self) -> None:
        if self.phase == "question":
            self.stop_jobs(self.grace)

    def _kill(self) -> None:
        if self.phase == "question":
            self.stop_jobs(0.0)

    def _skip_grace(self) -> None:
        self.is_asking_again = False
        self.stop_jobs(0.0)

    def _ask_again(self, asks: bool) -> None:
        """A second `s`: it asks once more, and `y` skips the grace."""
        self.is_asking_again, self.asked_at = asks, monotonic()
        self.redraw()

    def _change_grace(self, step: int) -> None:
        now = self.shown_grace
        higher = [each for each in GRACES if each > now]
        lower = [each for each in GRACES if each < now]
        self.grace = (higher[:1] or [now])[0] if step > 0 else (lower[-1:] or [now])[0]
        self.redraw()

    def _restart(self) -> None:
        self.host.show_dialog(RestartDialog(self.host, self.job_ids[0]))

    def _take_off(self) -> None:
        self.run_worker(self._hide_jobs())

    async def _hide_jobs(self) -> None:
        if await self.ask(HideJobs(ids=self.job_ids)) is not None:
            self.leave()

    def _open(self) -> None:
        job_id = self.job_ids[0]
        self.leave()
        self.host.open_job(job_id)

    # ---- what it says ----

    @property
    def shown_grace(self) -> float:
        return max((job.stop_grace for job in self.jobs), default=0.0) if self.grace is None else self.grace

    def subject(self) -> str:
        if len(self.jobs) == 1:
            return f"{self.jobs[0].id} {clean(self.jobs[0].title)}"
        return f"{len(self.jobs)} jobs"

    def title(self) -> tuple[str, str]:
        if self.phase == "question":
            why = "this job, even if the list moves" if len(self.jobs) == 1 else "these jobs and no others"
            return f"Stop {self.subject()}?", why
        if self.phase == "pointless":
            return f"{self.subject() if self.jobs else 'Nothing to stop'}: ended", ""
        return (self._title_over if self.phase == "over" else self._title_going_on)()

    def _title_over(self) -> tuple[str, str]:
        seconds = max((report.seconds for report in self.reports.values()), default=0.0)
        verb = "is" if len(self.jobs) == 1 else "are"
        return f"{self.subject()} {verb} stopped", f"in {seconds:.1f} s"

    def _title_going_on(self) -> tuple[str, str]:
        survivors = sum(len(report.left) for report in self.reports.values())
        seconds = max((report.seconds for report in self.reports.values()), default=0.0)
        if survivors and self.kill_in is None:
            total = sum(len(report.processes) for report in self.reports.values())
            return f"{self.subject()} could not be stopped", f"{seconds:.0f} s · {survivors} of {total} left"
        kill_in = self.kill_in
        when = "KILL sent" if kill_in is None else f"KILL in {stop_text.whole_seconds(kill_in)} s"
        return f"Stopping {self.subject()}", f"{seconds:.0f} s · {when}"

    @property
    def kill_in(self) -> float | None:
        """Until the first KILL that is still to come."""
        times = [report.kill_in for report in self.reports.values() if report.kill_in is not None]
        return min(times) if times else None

    def keys(self) -> list[tuple[str, str]]:
        if self.phase == "question":
            grace = stop_text.grace_words(self.shown_grace)
            return [("y", "stop"), ("n", "or esc cancel"), ("0", "kill now"), ("+ -", f"grace {grace}")]
        if self.phase == "pointless":
            return [("esc", "close")]
        if self.phase == "over":
            single = [("r", "restart"), ("enter", "open")] if len(self.jobs) == 1 else []
            return [("esc", "close"), *single, ("x", "take off the list")]
        if self.is_asking_again:
            return [("y", f"kill the {self._left()} left now"), ("n", "wait for the grace time")]
        return [("s", "skip the grace"), ("esc", "hide (it goes on)"), ("j k", "other jobs")]

    def _left(self) -> int:
        return sum(len(stop_text.living(report)) for report in self.reports.values())

    def body_lines(self, width: int) -> list[Line]:
        if self.phase == "pointless":
            return self._pointless_lines(width)
        single = len(self.jobs) == 1
        if self.phase == "question":
            return self._question_of_one(width) if single else self._question_of_several(width)
        if not single:
            return self._reports_of_several(width)
        report = self.reports.get(self.job_ids[0])
        if report is None:
            return [plain(" asking the daemon")]
        return (
            self._report_over(report, width) if self.phase == "over" else self._report_going_on(report, width)
        )

    def _pointless_lines(self, width: int) -> list[Line]:
        if not self.jobs:
            return [plain(" None of them runs any more.")]
        words = [
            f" {job.id} {clean(job.title)} ended by itself: {self._status_words(job)}." for job in self.jobs
        ]
        return [plain(line) for line in words]

    def _status_words(self, job: Job) -> str:
        return status_of(job, self.host.clock(), self.host.charset).word

    def _question_of_one(self, width: int) -> list[Line]:
        job = self.jobs[0]
        charset = self.host.charset
        listed = self.processes.get(job.id)
        count = len(listed) if listed else job.processes or job.leftovers
        ran = time_of(job, self.host.clock())
        state = f"{self._status_words(job)}, {ran}   {numbers.counted(count, 'process')}"
        command = plain(" " + clean(job.command))
        if self.is_narrow:
            lines: list[Line] = [cut(command, width, charset.ellipsis), plain(" " + state, "muted")]
        else:
            lines = [spread(command, plain(state + " ", "muted"), width, charset.ellipsis)]
        if job.state == "queued":
            return [*lines, plain(" It has not started: it is taken from the queue.")]
        if listed:
            lines += [[], *stop_text.process_lines(listed, width, charset), []]
        return [*lines, *wrapped(stop_text.plan_words(count, job.stop_signal, self.shown_grace), width)]

    def _question_of_several(self, width: int) -> list[Line]:
        lines = stop_text.job_names(self.jobs, width)
        hidden = [job for job in self.jobs if job.id in self.hidden_by_filter]
        if hidden:
            names = ", ".join(f"{job.id} {clean(job.title)}" for job in hidden)
            verb = "is" if len(hidden) == 1 else "are"
            words = f"{len(hidden)} of them {verb} hidden by the filter: {names}"
            lines += wrapped(words, width, indent="   ", role="accent")
        count = sum(
            job.processes or job.leftovers
            for job in self.jobs
            if job.state in STARTED_STATES or job.leftovers
        )
        signals = {job.stop_signal for job in self.jobs}
        signal = signals.pop() if len(signals) == 1 else "its stop signal"
        plan = f"{signal} to all, KILL after {stop_text.grace_words(self.shown_grace)}."
        plan = "KILL to all at once." if self.shown_grace <= 0 else plan
        return [*lines, *wrapped(f"{numbers.counted(count, 'process')}. {plan}", width, indent="   ")]

    def _reports_of_several(self, width: int) -> list[Line]:
        reports = [self.reports[each] for each in self.job_ids if each in self.reports]
        shown = self.report_lines(reports, width)
        if self.phase == "over":
            ended = ended_sentence([one for report in reports for one in report.processes])
            shown.append(plain(f" Nothing of them is left. {ended}" if ended else " Nothing is left."))
        return shown

    def _report_over(self, report: StopReport, width: int) -> list[Line]:
        lines = wrapped(stop_text.ending_sentence(report), width)
        if report.note and report.processes:
            lines += wrapped(clean(report.note), width, role="muted")
        looked = stop_text.looked_words(report)
        return [*lines, *wrapped(looked, width, role="muted")] if looked else lines

    def _report_going_on(self, report: StopReport, width: int) -> list[Line]:
        if report.left and report.kill_in is None:
            return stop_text.survivor_lines(report, width)
        listed = self.processes.get(report.id, ())
        known = stop_text.ProcessNotes(
            {one.pid: one.command for one in listed if one.command},
            {one.pid: one.does for one in listed if one.does},
        )
        charset = self.host.charset
        left = len(stop_text.living(report))
        gone = f" {len(report.processes) - left} gone, {left} left."
        return [
            stop_text.sequence_line(report, report.kill_in, width, charset),
            [],
            *stop_text.progress_lines(report, known, width, charset),
            [],
            plain(gone),
        ]


def _stoppable(job_ids: Iterable[str], snapshot: Snapshot) -> list[Job]:
    return [job for each in job_ids if (job := snapshot.jobs.get(each)) and is_stoppable(job)]
