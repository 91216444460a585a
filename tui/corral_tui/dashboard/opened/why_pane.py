"""Pane 5, Why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from corral.service.asking import ask_why
from corral.values.jobs import Job
from corral.values.reports import Diagnosis
from corral_tui.dashboard.lines import Line, plain, wrapped
from corral_tui.dashboard.opened.pane import Pane
from corral_tui.dashboard.opened.why_text import why_as_text, why_lines

if TYPE_CHECKING:
    from corral_tui.dashboard.app import DashboardApp


class WhyPane(Pane):
    """Pane 5: the diagnosis."""

    number = 5

    def __init__(self, host: DashboardApp, job: Job) -> None:
        super().__init__(host, job)
        self.diagnosis: Diagnosis | None = None

    def job_changed(self) -> None:
        self.diagnosis = None

    async def ask(self) -> None:
        if self.diagnosis is None or not self.job.is_ended:
            self.diagnosis = await self.host.source.call(ask_why(self.job.id))

    def title_right(self) -> Line:
        words = {"stuck": "STUCK", "active": "active, not stuck", "waiting": "waiting, not stuck"}
        health = self.job.health
        return plain(words[health], "alert" if health == "stuck" else "muted") if health else []

    def body_lines(self, width: int) -> list[Line]:
        if self.diagnosis is None:
            return wrapped(self.job.summary or "", width) if self.job.summary else []
        return why_lines(self.diagnosis, self.host.clock(), width, self.host.charset)

    def as_text(self) -> str | None:
        if self.diagnosis is None:
            return None
        head = f"{self.job.id} {self.job.title}: {self.job.command}\n\n"
        return head + why_as_text(self.diagnosis, self.host.clock(), self.host.charset)
