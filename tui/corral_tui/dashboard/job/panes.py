"""The panes of an opened job: its output, its tree and all else. Those that are more have modules of their own."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult

from corral.model.job import STARTED_STATES, Job, ProcessView
from corral.model.reports import Detail
from corral.protocol.requests import ListProcesses, ShowJob
from corral_tui.dashboard.frame.screen import Host
from corral_tui.dashboard.job.about_text import about_lines
from corral_tui.dashboard.job.output.filter_line import FilterLine
from corral_tui.dashboard.job.output.rows import STREAMS
from corral_tui.dashboard.job.output.view import OutputView
from corral_tui.dashboard.job.pane import Pane
from corral_tui.dashboard.job.tree_text import in_tree_order, tree_heading, tree_lines
from corral_tui.dashboard.paint.canvas import Block, ScrolledLines
from corral_tui.dashboard.paint.lines import Line, cut, plain
from corral_tui.dashboard.paint.text_field import OneLineInput
from corral_tui.text import numbers
from corral_tui.text.lost_output import truncated_in_short

WITH_FOLLOWING = 70
"""From this width on the title of the output has room to say whether its end is followed."""
MOST_WANTED = 200
"""Rows that the output asks for at most; nobody has as many."""


class OutputPane(Pane):
    """Pane 2: what the job prints."""

    number = 2
    seconds = 0.25

    def compose(self) -> ComposeResult:
        yield Block(self._title_lines, classes="pane--title")
        yield FilterLine(self._found_lines)
        view = OutputView(self.host.source.home, self.host.charset, self.host.clock, id="output")
        view.add_class("pane--body")
        yield view

    @property
    def view(self) -> OutputView:
        return self.query_one("#output", OutputView)

    def on_mount(self) -> None:
        self.view.show_job(self.job)

    def put(self, job: Job) -> None:
        super().put(job)
        if self.is_mounted:
            self.view.show_job(job)

    def job_changed(self) -> None:
        if self.is_mounted:
            self.query_one(FilterLine).close()

    async def ask(self) -> None:
        self.view.look()
        self.problem = self.view.problem

    # ---- only some lines ----

    @property
    def filter_line(self) -> FilterLine:
        return self.query_one(FilterLine)

    def _found_lines(self, width: int) -> list[Line]:
        line = plain(f"  {self.view.found or 'only lines with these letters'}", "muted")
        if self.filter_line.is_typed:
            line += [("   enter", "key"), (" keeps it", "muted")]
        line += [("   esc", "key"), (" all lines", "muted")]
        return [cut(line, width, self.host.charset.ellipsis)]

    def show_all(self) -> bool:
        """Without the filter; False where there is none."""
        if not self.filter_line.display:
            return False
        self.filter_line.close()
        self.view.show_only("")
        self.view.focus()
        self.redraw()
        return True

    def on_filter_line_typed(self, message: FilterLine.Typed) -> None:
        message.stop()
        self.view.show_only(message.words)
        self.redraw()

    def on_one_line_input_several_pasted(self, message: OneLineInput.SeveralPasted) -> None:
        message.stop()
        self.host.say(message.problem)

    def on_filter_line_done(self, message: FilterLine.Done) -> None:
        message.stop()
        if message.is_kept:
            self.screen.set_focus(self.view)
            self.redraw()
        else:
            self.show_all()

    def title_right(self) -> Line:
        line: Line = []
        for number, each in enumerate(STREAMS):
            line.append((f" {self.host.charset.dot} " if number else "", "muted"))
            line.append((each, "bold" if each == self.view.streams else "muted"))
        follows = "following" if self.view.is_following else "f follows"
        amount = self.job.stdout_bytes + self.job.stderr_bytes
        size = f"{numbers.size(amount)}{' B' if amount < 1000 else ''}"
        words = f"   {self.view.extent}, {size}"
        if self.size.width >= WITH_FOLLOWING:
            words = f"   {follows}{'' if self.view.wraps else '   W wraps'}{words}"
        dropped = self.job.stdout_dropped_bytes + self.job.stderr_dropped_bytes
        line.append((words, "muted"))
        if dropped:
            line.append((f"   the first {numbers.size(dropped)} dropped", "warning"))
        if self.job.truncated_bytes:
            line.append((f"   {truncated_in_short(self.job)[1]}", "warning"))
        return line

    def wanted_height(self, width: int) -> int:
        return self.view.rows_up_to(MOST_WANTED) + 1 + self.filter_line.display

    def move(self, rows: int) -> None:
        self.view.move(rows)
        self.redraw()

    def move_to_edge(self, *, end: bool) -> None:
        if end:
            self.view.follow(on=True)
        else:
            self.view.move_to_first()
        self.redraw()

    def turn(self, step: int) -> bool:
        self.view.show_streams(step)
        self.redraw()
        return True

    def toggle_follow(self) -> bool:
        self.view.follow(on=not self.view.is_following)
        self.redraw()
        return self.view.is_following

    def toggle_wrap(self) -> bool:
        self.view.wrap(on=not self.view.wraps)
        self.redraw()
        return self.view.wraps

    def redraw(self) -> None:
        super().redraw()
        if self.is_mounted:
            self.filter_line.redraw()


class TreePane(Pane):
    """Pane 3: the processes; the selected one is the target of a signal."""

    number = 3

    def __init__(self, host: Host, job: Job) -> None:
        super().__init__(host, job)
        self.processes: tuple[ProcessView, ...] = ()
        self.selected_pid: int | None = None

    def job_changed(self) -> None:
        self.processes, self.selected_pid = (), None

    async def ask(self) -> None:
        if self.job.state in STARTED_STATES or self.job.leftovers:
            self.processes = (await self.host.source.call(ListProcesses(job=self.job.id))).processes
        else:
            self.processes = ()
        if self.selected_pid not in {one.pid for one in self.processes}:
            self.selected_pid = None

    @property
    def selected(self) -> ProcessView | None:
        return next((one for one in self.processes if one.pid == self.selected_pid), None)

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
        ordered = [one.pid for _, one in in_tree_order(self.processes)]
        return ordered.index(self.selected_pid) + 1 if self.selected_pid in ordered else None

    def move(self, rows: int) -> None:
        ordered = [one.pid for _, one in in_tree_order(self.processes)]
        if not ordered:
            return
        here = ordered.index(self.selected_pid) + rows if self.selected_pid in ordered else 0
        self._select(ordered[min(max(here, 0), len(ordered) - 1)])

    def move_to_edge(self, *, end: bool) -> None:
        ordered = [one.pid for _, one in in_tree_order(self.processes)]
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
        ordered = [one.pid for _, one in in_tree_order(self.processes)]
        if 0 <= row < len(ordered):
            self._select(ordered[row])


class AboutPane(Pane):
    """Pane 6: all else."""

    number = 6
    seconds = 2.0

    def __init__(self, host: Host, job: Job) -> None:
        super().__init__(host, job)
        self.detail: Detail | None = None
        self.shows_values = False

    def job_changed(self) -> None:
        self.detail, self.shows_values = None, False

    async def ask(self) -> None:
        self.detail = await self.host.source.call(ShowJob(job=self.job.id))

    def body_lines(self, width: int) -> list[Line]:
        return about_lines(
            self.job, self.detail, shows_values=self.shows_values, width=width, charset=self.host.charset
        )

    def toggle_values(self) -> None:
        self.shows_values = not self.shows_values
        self.redraw()
