"""Pane 6: all else."""

from __future__ import annotations

from corral.model.reports import Detail
from corral.protocol.requests import ShowJob
from corral_tui.dashboard.job.about_text import about_lines
from corral_tui.dashboard.job.pane import Pane
from corral_tui.dashboard.paint.lines import Line


class AboutPane(Pane):
    """How it was started, its life, its environment."""

    number = 6
    seconds = 2.0

    def job_changed(self) -> None:
        self.detail: Detail | None = None
        self.shows_values = False

    async def ask(self) -> None:
        self.detail = await self.host.source.call(ShowJob(job=self.job.id))

    def body_lines(self, width: int) -> list[Line]:
        return about_lines(
            self.job, self.detail, shows_values=self.shows_values, width=width, charset=self.host.charset
        )

    def toggle_values(self) -> None:
        self.shows_values = not self.shows_values
        self.redraw()
