"""Pane 4, Charts."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from corral.service.protocol import AskPast
from corral.values.jobs import Job
from corral.values.past import Past
from corral_tui import numbers
from corral_tui.dashboard.lines import Line, plain
from corral_tui.dashboard.opened.charts_text import LABEL, chart_lines, seconds_per_column
from corral_tui.dashboard.opened.pane import Pane

if TYPE_CHECKING:
    from corral_tui.dashboard.app import DashboardApp


class ChartsPane(Pane):
    """Pane 4: CPU, memory and output over the kept past."""

    number = 4
    seconds = 5.0

    def __init__(self, host: DashboardApp, job: Job) -> None:
        super().__init__(host, job)
        self.past: Past | None = None

    def job_changed(self) -> None:
        self.past = None

    async def ask(self) -> None:
        self.past = (await self.host.source.call(AskPast(ids=(self.job.id,)))).past.get(self.job.id)

    def _newest(self) -> datetime:
        return self.job.ended or self.host.clock()

    def title_right(self) -> Line:
        if self.past is None or not self.past.cpu:
            return []
        columns = max(self.size.width - LABEL - 2, 8)
        whole = numbers.duration(self.past.seconds * len(self.past.cpu))
        return plain(
            f"{whole} · 1 column = {numbers.duration(seconds_per_column(self.past, columns))}", "muted"
        )

    def body_lines(self, width: int) -> list[Line]:
        if self.past is None or not self.past.cpu:
            return [plain(" nothing was measured", "muted")]
        height = max(self.size.height - 1, 2)
        return chart_lines(self.past, self._newest(), width, height, self.host.charset)

    def wanted_height(self, width: int) -> int:
        return 13 if self.past is not None and self.past.cpu else 2
