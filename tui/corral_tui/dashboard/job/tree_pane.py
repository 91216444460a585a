"""Pane 3: the processes."""

from __future__ import annotations

from textual import events

from corral.model.job import STARTED_STATES, ProcessView
from corral.protocol.requests import ListProcesses
from corral_tui.dashboard.job.pane import Pane
from corral_tui.dashboard.job.tree_text import in_tree_order, tree_heading, tree_lines
from corral_tui.dashboard.paint.block_widgets import ScrolledLines
from corral_tui.dashboard.paint.lines import Line, plain
from corral_tui.text import numbers


class TreePane(Pane):
    """The selected one is the target of a signal."""

    number = 3

    def job_changed(self) -> None:
        self.processes: tuple[ProcessView, ...] = ()
        self.selected_pid: int | None = None

    async def ask(self) -> None:
        if self.job.state in STARTED_STATES or self.job.leftovers:
            self.processes = (await self.host.source.call(ListProcesses(job=self.job.id))).processes
        else:
            self.processes = ()
        if self.selected_pid not in {one.pid for one in self.processes}:
            self.selected_pid = None

    def title_right(self) -> Line:
        return plain(numbers.counted(len(self.processes), "process"), "muted")

    def body_lines(self, width: int) -> list[Line]:
        if not self.processes:
            return [plain(" none of it runs" if self.job.is_ended else " nothing of it runs now", "muted")]
        slow = next((one.pid for one in self.job.stages if one.number == self.job.bottleneck), None)
        return [tree_heading(width), *tree_lines(self.processes, slow, width, self.host.charset)]

    def redraw(self) -> None:
        super().redraw()
        if self.is_mounted:
            body = self.query_one(ScrolledLines)
            body.cursor = self._row_of_selected() if self.is_current else None
            body.refresh()

    def _row_of_selected(self) -> int | None:
        ordered = self._pids()
        return ordered.index(self.selected_pid) + 1 if self.selected_pid in ordered else None

    def _pids(self) -> list[int]:
        return [one.pid for _, one in in_tree_order(self.processes)]

    def move(self, rows: int) -> None:
        ordered = self._pids()
        here = ordered.index(self.selected_pid) + rows if self.selected_pid in ordered else 0
        if ordered:
            self._select(ordered[min(max(here, 0), len(ordered) - 1)])

    def move_to_edge(self, *, end: bool) -> None:
        ordered = self._pids()
        if ordered:
            self._select(ordered[-1 if end else 0])

    def _select(self, pid: int) -> None:
        self.selected_pid = pid
        self.redraw()
        self.query_one(ScrolledLines).select(self._row_of_selected())

    def on_click(self, event: events.Click) -> None:
        super().on_click(event)
        body = self.query_one(ScrolledLines)
        row = event.screen_y - body.region.y + round(body.scroll_offset.y) - 1
        ordered = self._pids()
        if 0 <= row < len(ordered):
            self._select(ordered[row])
