"""What the panes of an opened job have in common: a title line that carries the key, and below it what the pane shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.message import Message
from textual.widget import Widget

from corral.model.errors import CorralError
from corral.model.job import Job
from corral_tui.dashboard.frame.actions import PANES
from corral_tui.dashboard.frame.screen import Host
from corral_tui.dashboard.paint.block_widgets import Block, ScrolledLines
from corral_tui.dashboard.paint.lines import Line, plain, rule, wrapped
from corral_tui.text.charset import Role


class Pane(Widget):
    """One pane. `job` is put in by the screen with each snapshot; `poll` asks the daemon for what that does not hold."""

    DEFAULT_CSS = """
    Pane { layout: vertical; height: 1fr; width: 1fr; }
    Pane > .pane--title { height: 1; }
    Pane > .pane--body { height: 1fr; }
    """
    number: ClassVar[int] = 0
    seconds: ClassVar[float] = 1.0
    """Between two polls, while it can be seen."""

    @dataclass
    class Clicked(Message):
        """The pane was clicked."""

        number: int

    def __init__(self, host: Host, job: Job) -> None:
        super().__init__(id=f"pane-{self.number}")
        self.host = host
        self.job = job
        self.is_current = False
        self.problem: str | None = None
        self._due = 0.0
        self.job_changed()

    # ---- what each pane overrides ----

    def body_lines(self, width: int) -> list[Line]:
        return []

    def title_right(self) -> Line:
        return []

    def wanted_height(self, width: int) -> int:
        """Rows that show all of it, the title included."""
        return len(self.body_lines(width)) + 1

    async def ask(self) -> None:
        """Ask the daemon for what it shows. Raises CorralError."""

    def job_changed(self) -> None:
        """`job` is another one now: nothing is known of it. Also called at first."""

    # ---- its frame ----

    def compose(self) -> ComposeResult:
        yield Block(self._title_lines, classes="pane--title")
        body = ScrolledLines(self._lines_or_problem, id=f"body-{self.number}")
        body.add_class("pane--body")
        yield body

    @property
    def body(self) -> Widget:
        return self.query_one(".pane--body")

    def _lines_or_problem(self, width: int) -> list[Line]:
        problem = wrapped(self.problem, width, role="error") if self.problem else []
        return [*problem, *self.body_lines(width)]

    def _title_lines(self, width: int) -> list[Line]:
        title = plain(f"{self.number} {PANES[self.number - 1]}", "bold" if self.is_current else "plain")
        role: Role = "rule-selected" if self.is_current else "rule"
        return [rule(title, self.title_right(), width, self.host.charset.rule, role)]

    def redraw(self) -> None:
        if not self.is_mounted:
            return
        self.query_one(".pane--title", Block).redraw()
        body = self.body
        if isinstance(body, ScrolledLines):
            body.redraw()

    def put(self, job: Job) -> None:
        """The job as it is now, or another one."""
        is_other = job.id != self.job.id
        self.job = job
        if is_other:
            self.problem = None
            self._due = 0.0
            self.job_changed()

    async def poll(self, now: float) -> None:
        """Ask what it shows, if it is time to. An error is shown in the pane and leaves what was known."""
        if now < self._due or not self.display:
            return
        self._due = now + self.seconds
        job_id = self.job.id
        try:
            await self.ask()
            problem = None
        except CorralError as error:
            problem = str(error)
        if job_id == self.job.id:
            self.problem = problem
            self.redraw()

    def on_click(self, event: events.Click) -> None:
        self.post_message(self.Clicked(self.number))

    # ---- moving ----

    def move(self, rows: int) -> None:
        self.body.scroll_relative(y=rows, animate=False, force=True)

    def move_to_edge(self, *, end: bool) -> None:
        if end:
            self.body.scroll_end(animate=False, force=True)
        else:
            self.body.scroll_home(animate=False, force=True)

    def turn(self, step: int) -> bool:
        """What the arrows aside do; False where they do nothing."""
        return False

    def as_text(self) -> str | None:
        """What `y` copies; None where the job's summary is better."""
        return None
