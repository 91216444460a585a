"""The panes of an opened job: a title line that carries the key, and below it what the pane shows."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from msgspec import structs
from textual import events
from textual.app import ComposeResult
from textual.message import Message
from textual.widget import Widget

from corral.service.protocol import AskPast, AskWhy, ListProcesses, PeekPipes, ShowJob
from corral.values.errors import CorralError
from corral.values.jobs import STARTED_STATES, Job, Pipe, ProcessView
from corral.values.past import Past
from corral.values.reports import Detail, Diagnosis
from corral_tui import numbers
from corral_tui.dashboard.canvas import Block, ScrolledLines
from corral_tui.dashboard.lines import Line, plain, rule, wrapped
from corral_tui.dashboard.opened.about_text import about_lines
from corral_tui.dashboard.opened.charts_text import LABEL, chart_lines, seconds_per_column
from corral_tui.dashboard.opened.head import PANES
from corral_tui.dashboard.opened.output import OutputView
from corral_tui.dashboard.opened.output_rows import STREAMS
from corral_tui.dashboard.opened.pipeline_text import pipeline_lines
from corral_tui.dashboard.opened.tree_text import in_tree_order, tree_heading, tree_lines
from corral_tui.dashboard.opened.why_text import why_as_text, why_lines
from corral_tui.dashboard.tails import Tail

if TYPE_CHECKING:
    from corral_tui.dashboard.app import DashboardApp

TAIL_ROWS = 4


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

    class Clicked(Message):
        """The pane was clicked."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

    def __init__(self, host: DashboardApp, job: Job) -> None:
        super().__init__(id=f"pane-{self.number}")
        self.host = host
        self.job = job
        self.is_current = False
        self.problem: str | None = None
        self._due = 0.0

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
        """`job` is another one now."""

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
        name = f"{self.number} {PANES[self.number - 1]}"
        look = "rule-selected" if self.is_current else "rule"
        glyph = self.host.charset.rule
        title = plain(name, "bold" if self.is_current else "plain")
        return [
            rule(
                title,
                self.title_right(),
                width,
                glyph,
                "rule-selected" if look == "rule-selected" else "rule",
            )
        ]

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


class OutputPane(Pane):
    """Pane 2: what the job prints."""

    number = 2
    seconds = 0.25

    def compose(self) -> ComposeResult:
        yield Block(self._title_lines, classes="pane--title")
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

    async def ask(self) -> None:
        self.view.look()
        self.problem = self.view.problem

    def title_right(self) -> Line:
        line: Line = []
        for number, each in enumerate(STREAMS):
            line.append((f" {self.host.charset.dot} " if number else "", "muted"))
            line.append((each, "bold" if each == self.view.streams else "muted"))
        follows = "following" if self.view.is_following else "f follows"
        amount = self.job.stdout_bytes + self.job.stderr_bytes
        size = f"{numbers.size(amount)}{' B' if amount < 1000 else ''}"
        words = f"   {follows}   {numbers.counted(self.view.line_count, 'line')}, {size}"
        dropped = self.job.stdout_dropped_bytes + self.job.stderr_dropped_bytes
        line.append((words, "muted"))
        return [*line, (f"   the first {numbers.size(dropped)} dropped", "warning")] if dropped else line

    def wanted_height(self, width: int) -> int:
        return self.view.total_rows + 1

    def move(self, rows: int) -> None:
        self.view.move(rows)
        self.redraw()

    def move_to_edge(self, *, end: bool) -> None:
        if not end:
            self.view.follow(on=False)
            self.view.scroll_home(animate=False, force=True)
        else:
            self.view.follow(on=True)
        self.redraw()

    def turn(self, step: int) -> bool:
        self.view.show_streams(step)
        self.redraw()
        return True

    def toggle_follow(self) -> bool:
        self.view.follow(on=not self.view.is_following)
        self.redraw()
        return self.view.is_following


class TreePane(Pane):
    """Pane 3: the processes; the selected one is the target of a signal."""

    number = 3

    def __init__(self, host: DashboardApp, job: Job) -> None:
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
            self.diagnosis = await self.host.source.call(AskWhy(job=self.job.id))

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


class AboutPane(Pane):
    """Pane 6: all else."""

    number = 6
    seconds = 2.0

    def __init__(self, host: DashboardApp, job: Job) -> None:
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
