"""Pane 1, Pipeline: the drawing, and a look into one of its pipes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from corral.service.protocol import AskPast, PeekPipes
from corral.values.jobs import STARTED_STATES, Job, Pipe
from corral.values.past import Past
from corral_tui import numbers
from corral_tui.dashboard.lines import Line, plain
from corral_tui.dashboard.opened.pane import Pane
from corral_tui.dashboard.opened.pipeline_text import pipeline_lines
from corral_tui.dashboard.tails import Tail

if TYPE_CHECKING:
    from corral_tui.dashboard.app import DashboardApp

TAIL_ROWS = 4


class PipelinePane(Pane):
    """Pane 1: the drawing; the fill of the pipes four times a second."""

    number = 1
    seconds = 0.25

    def __init__(self, host: DashboardApp, job: Job) -> None:
        super().__init__(host, job)
        self._pasts: Past | None = None
        self._pasts_due = 0
        self._pipes: dict[int, Pipe] = {}
        self._tail = Tail(host.source.home, job)

    def job_changed(self) -> None:
        self._pasts, self._pasts_due, self._pipes = None, 0, {}
        self._tail = Tail(self.host.source.home, self.job)

    async def ask(self) -> None:
        if self._pasts_due <= 0:
            self._pasts_due = 20
            past = await self.host.source.call(AskPast(ids=(self.job.id,)))
            self._pasts = past.past.get(self.job.id)
        self._pasts_due -= 1
        if self.job.pipes and self.job.state in STARTED_STATES:
            reply = await self.host.source.call(PeekPipes(job=self.job.id))
            known = {pipe.number: pipe for pipe in self.job.pipes}
            self._pipes = {
                peeked.number: structs.replace(
                    known[peeked.number], fill_bytes=peeked.fill_bytes, capacity_bytes=peeked.capacity_bytes
                )
                for peeked in reply.pipes
                if peeked.number in known
            }

    def _shown_job(self) -> Job:
        """With the fill as it was seen last, which is newer than the snapshot's."""
        pipes = tuple(
            pipe
            if pipe.number not in self._pipes
            else structs.replace(
                pipe,
                fill_bytes=self._pipes[pipe.number].fill_bytes,
                capacity_bytes=self._pipes[pipe.number].capacity_bytes,
            )
            for pipe in self.job.pipes
        )
        return structs.replace(self.job, pipes=pipes)

    def title_right(self) -> Line:
        return plain(numbers.counted(len(self.job.stages), "stage"), "muted")

    def body_lines(self, width: int) -> list[Line]:
        pasts = self._pasts.stages if self._pasts else {}
        lines = pipeline_lines(self._shown_job(), pasts, width, self.host.charset)
        return lines if self._is_beside_output() else [*lines, *self._last_output(width)]

    def _is_beside_output(self) -> bool:
        return bool(self.screen.query("#pane-2")) and self.screen.query_one("#pane-2").display

    def _last_output(self, width: int) -> list[Line]:
        self._tail.update(self.job)
        shown = self._tail.last_lines(TAIL_ROWS)
        if not shown:
            return []
        lines: list[Line] = [[(" ", "plain"), *line] for line in shown]
        return [[], plain(" the last it printed", "muted"), *lines]
