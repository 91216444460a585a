"""Pane 2: what the job prints."""

from __future__ import annotations

from textual.app import ComposeResult

from corral.model.job import Job
from corral_tui.dashboard.job.output.filter_line import FilterLine
from corral_tui.dashboard.job.output.rows import STREAMS
from corral_tui.dashboard.job.output.view import OutputView
from corral_tui.dashboard.job.pane import Pane
from corral_tui.dashboard.paint.block_widgets import Block
from corral_tui.dashboard.paint.lines import Line, cut, plain
from corral_tui.dashboard.paint.text_field import OneLineInput
from corral_tui.text import numbers
from corral_tui.text.lost_output import truncated_in_short

WITH_FOLLOWING = 70
"""From this width on the title of the output has room to say whether its end is followed."""
MOST_WANTED = 200
"""Rows that the output asks for at most; nobody has as many."""


class OutputPane(Pane):
    """Its output, of one stream or all, with a filter."""

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
