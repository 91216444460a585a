"""Pane 4, Charts: CPU and memory over the whole life of the job, running or ended; the recent output."""

from __future__ import annotations

from corral.model.history import RecentHistory
from corral.model.job import STARTED_STATES
from corral.model.reports import Story
from corral.protocol.requests import AskRecentHistory, AskStory
from corral_tui.dashboard.job.charts_text import (
    Series,
    chart_lines,
    columns_of,
    late_series,
    life_series,
    seconds_per_column,
)
from corral_tui.dashboard.job.pane import Pane
from corral_tui.dashboard.paint.lines import Line, plain, wrapped
from corral_tui.text import numbers

USUAL_HEIGHT = {1: 6, 2: 10, 3: 14}
"""Rows for so many charts, the title included."""


class ChartsPane(Pane):
    """Pane 4: CPU, memory and output."""

    number = 4
    seconds = 2.0

    def job_changed(self) -> None:
        self.history: Story | None = None
        self.recent: RecentHistory | None = None
        self._was_ended = False

    async def ask(self) -> None:
        if self.history is not None and self._was_ended:
            return
        is_ended = self.job.is_ended
        job_id = self.job.id
        self.history = await self.host.source.call(AskStory(job=job_id))
        if self.job.state in STARTED_STATES:
            self.recent = (await self.host.source.call(AskRecentHistory(ids=(job_id,)))).past.get(job_id)
        self._was_ended = is_ended

    def _series(self) -> list[Series]:
        """What was measured: of the whole life, and while it runs of the last minutes."""
        if self.history is None or self.job.started is None:
            return []
        lived = life_series(self.history.life, self.job.started, is_over=self.job.is_ended)
        every = [each for each in lived if each.values]
        if self.recent is not None and not self.job.is_ended and any(self.recent.output):
            every.append(late_series(self.recent, self.host.clock()))
        return every

    def title_right(self) -> Line:
        every = self._series()
        if not every or not self.size.width:
            return []
        first = every[0]
        column = seconds_per_column(first, columns_of(self.size.width))
        words = numbers.duration(column) if column >= 1 else f"{column:.1f}s"
        end = self.job.ended or self.host.clock()
        lived = numbers.duration((end - first.start).total_seconds())
        return plain(f"whole life, {lived} {self.host.charset.dot} 1 column = {words}", "muted")

    def body_lines(self, width: int) -> list[Line]:
        every = self._series()
        if not every:
            return wrapped(self._why_none(), width, role="muted")
        return chart_lines(every, width, max(self.size.height - 1, 2), self.host.charset)

    def _why_none(self) -> str:
        if self.job.started is None:
            return "it has not started yet"
        if self.history is None or not self.job.is_ended:
            return "nothing was measured yet"
        words = "its life was too short for a chart"
        if self.job.cpu_seconds is not None:
            words += f": {self.job.cpu_seconds:.2f} s of CPU"
        if self.job.peak_memory_bytes is not None:
            words += f", {numbers.size(self.job.peak_memory_bytes)} of memory at its peak"
        return words

    def wanted_height(self, width: int) -> int:
        return USUAL_HEIGHT.get(len(self._series()), 2)
