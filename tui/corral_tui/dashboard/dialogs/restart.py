"""`r` on a job that runs: asks, because one letter must not end a six-hour run. An ended one restarts at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from corral.client.snapshot import Snapshot
from corral.protocol.requests import RestartJobs
from corral_tui.dashboard.dialogs import stop_text
from corral_tui.dashboard.dialogs.base import BottomDialog, ChoiceButton
from corral_tui.dashboard.frame.screen import Host
from corral_tui.dashboard.paint.lines import Line, clean, plain, wrapped
from corral_tui.text import numbers
from corral_tui.text.charset import status_of, time_of


class RestartDialog(BottomDialog):
    """Stops one job and runs it again; its new run is selected."""

    def __init__(self, host: Host, job_id: str) -> None:
        super().__init__(host, (job_id,))
        self.job_id = job_id
        self.is_restarting = False

    def on_mount(self) -> None:
        job = self.job
        if job is None or job.is_ended or not self.host.settings.asks:
            self._restart()
        else:
            self.focus_choice("n")

    def snapshot_applied(self, snapshot: Snapshot) -> None:
        self.redraw()

    def _restart(self) -> None:
        if not self.is_restarting:
            self.is_restarting = True
            self.end_asking()
            self.run_worker(self._ask_to_restart())

    async def _ask_to_restart(self) -> None:
        reply = await self.ask(RestartJobs(ids=(self.job_id,)))
        if reply is None:
            return
        self.host.did("job.restart", (self.job_id,))
        self.host.say(f"{self.job_id} runs again as {', '.join(reply.ids)}")
        self.leave()
        self.host.select_job(reply.ids[0])

    def compose_choices(self) -> Sequence[ChoiceButton]:
        return (
            ChoiceButton("y", "stop it and run it again", "restart", self._restart, id="yes"),
            ChoiceButton("n", "leave it running", "leave", self.leave, id="no"),
        )

    def answers(self) -> Mapping[str, Callable[[], None]]:
        return {"n": self.leave, **({"y": self._restart} if self.is_asking else {})}

    def title(self) -> tuple[str, str]:
        if self.problem:
            return f"{self.subject()} was not restarted", ""
        if self.is_restarting:
            return f"Restarting {self.subject()}", "stopped first, then run again"
        return f"Restart {self.subject()}?", "it runs"

    def keys(self) -> list[tuple[str, str]]:
        if self.is_restarting:
            return [("esc", "close" if self.problem else "hide (it goes on)")]
        return [("y", "restart"), ("n", "or esc cancel")]

    def body_lines(self, width: int) -> list[Line]:
        job = self.job
        if job is None:
            return []
        word = status_of(job, self.host.clock(), self.host.charset).word
        lines = wrapped(clean(job.command), width, hanging="   ")
        count = job.processes or job.leftovers
        state = f" {word}, {time_of(job, self.host.clock())}, {numbers.counted(count, 'process')}"
        if job.is_ended:
            return [*lines, plain(f" {word}", "muted")]
        plan = stop_text.plan_words(max(count, 1), job.stop_signal, job.stop_grace)
        lines += [plain(state, "muted"), *wrapped(f"{plan} Then the same command runs again.", width)]
        return [
            *lines,
            *wrapped("If one of its processes survives, nothing is started.", width, role="muted"),
        ]
