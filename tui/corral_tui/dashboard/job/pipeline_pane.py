"""Pane 1, Pipeline: the drawing, and a look into one of its pipes."""

from __future__ import annotations

from msgspec import structs
from textual import events
from textual.app import ComposeResult
from textual.geometry import Region

from corral.model.history import RecentHistory
from corral.model.job import STARTED_STATES, Job, Pipe
from corral.model.reports import PeekedPipe
from corral.protocol.requests import AskRecentHistory, PeekPipes
from corral_tui.dashboard.job.pane import Pane
from corral_tui.dashboard.job.peek_text import Peek, peek_as_text, peek_head, peek_lines
from corral_tui.dashboard.job.pipeline_text import Drawing, DrawingContext, draw
from corral_tui.dashboard.paint.block_widgets import Block
from corral_tui.dashboard.paint.lines import Line, plain
from corral_tui.dashboard.paint.output_tails import Tail
from corral_tui.text import numbers

TAIL_ROWS = 4
PASTS_EVERY = 20
"""Polls."""
PEEK_HEAD = 2
LEAST_CONTENT, USUAL_CONTENT = 8, 16
"""Rows of bytes that leave the drawing in its place, and that the pane would like to have."""
FIRST_BYTES, MOST_BYTES = 4 << 10, 64 << 10
"""Asked for, and once one has scrolled to their end: a rebuild of the lines takes a few milliseconds at most."""


class PipelinePane(Pane):
    """Pane 1: the drawing; the fill of the pipes, and the bytes of the one that is looked into, four times a second."""

    number = 1
    seconds = 0.25
    DEFAULT_CSS = "PipelinePane > .pane--peek { display: none; } PipelinePane.-peeking > .pane--peek { display: block; }"

    def job_changed(self) -> None:
        self._recent: RecentHistory | None = None
        self._recent_due = 0
        self._pipes: dict[int, PeekedPipe] = {}
        self._tail = Tail(self.host.source.home, self.job)
        self._chosen: int | None = None
        self._wanted_bytes = FIRST_BYTES
        self.peek: Peek | None = None
        self._drawing = Drawing([])
        self.remove_class("-peeking")

    def compose(self) -> ComposeResult:
        title, body = super().compose()
        yield title
        yield Block(self._head_lines, classes="pane--peek")
        yield body

    # ---- what is known ----

    async def ask(self) -> None:
        await self._ask_recent()
        if self.has_pipes:
            reply = await self.host.source.call(PeekPipes(job=self.job.id))
            self._pipes = {peeked.number: peeked for peeked in reply.pipes}
        await self._look_into()

    async def _ask_recent(self) -> None:
        if self._recent_due <= 0:
            self._recent_due = PASTS_EVERY
            answer = await self.host.source.call(AskRecentHistory(ids=(self.job.id,)))
            self._recent = answer.past.get(self.job.id)
        self._recent_due -= 1

    async def _look_into(self) -> None:
        """Ask for the bytes. What was chosen meanwhile is not overwritten by the answer for what was before."""
        asked = self.peek
        if asked is None:
            return
        request = PeekPipes(job=self.job.id, pipe=asked.pipe, bytes=self._bytes_wanted())
        reply = await self.host.source.call(request)
        found = next((each for each in reply.pipes if each.number == asked.pipe), None)
        if found is None or self.peek is None or self.peek.pipe != asked.pipe:
            return
        self._pipes[found.number] = found
        self.peek = self.peek._replace(found=found)
        if self.peek.as_hex is None and found.content:
            # Decided by the first bytes, so that later ones do not switch it back and forth.
            self.peek = self.peek._replace(as_hex=self.peek.is_hex)

    def _shown_job(self) -> Job:
        """With the fill as it was seen last, which is newer than the snapshot's."""
        if self.job.is_ended:
            return self.job
        return structs.replace(self.job, pipes=tuple(self._newest(pipe) for pipe in self.job.pipes))

    def _newest(self, pipe: Pipe) -> Pipe:
        seen = self._pipes.get(pipe.number)
        if seen is None:
            return pipe
        return structs.replace(pipe, fill_bytes=seen.fill_bytes, capacity_bytes=seen.capacity_bytes)

    # ---- choosing a pipe ----

    @property
    def has_pipes(self) -> bool:
        return bool(self.job.pipes) and self.job.state in STARTED_STATES

    @property
    def chosen(self) -> int | None:
        """The pipe that `enter` looks into: at first the one in front of the stage that holds up the rest."""
        if not self.has_pipes:
            return None
        known = [pipe.number for pipe in self.job.pipes]
        if self._chosen in known:
            return self._chosen
        before = (self.job.bottleneck or 0) - 1
        return before if before in known else known[0]

    def turn(self, step: int) -> bool:
        """The pipe before or after the chosen one; while one is looked into, that one's bytes."""
        if not self.has_pipes or self.chosen is None:
            return False
        known = [pipe.number for pipe in self.job.pipes]
        place = known.index(self.chosen) + step
        self._choose(known[min(max(place, 0), len(known) - 1)])
        return True

    def _choose(self, pipe: int) -> None:
        self._chosen = pipe
        if self.peek is not None and self.peek.pipe != pipe:
            self.look_into(pipe)
            return
        self.redraw()
        spot = self._drawing.spots.get(pipe)
        if spot is not None:
            # With the stages at both of its ends.
            around = Region(0, max(spot.y - 1, 0), 1, spot.height + 2)
            self.body.scroll_to_region(around, animate=False, force=True)

    # ---- looking into it ----

    def look_into(self, pipe: int) -> None:
        """Show the bytes that stand in this pipe, from now on."""
        self._chosen = pipe
        self._wanted_bytes = FIRST_BYTES
        self.peek = Peek(pipe)
        self._due = 0.0
        self.set_class(True, "-peeking")
        self.body.scroll_home(animate=False, force=True)
        self.redraw()

    def look_away(self) -> None:
        self.peek = None
        self.remove_class("-peeking")
        self.redraw()

    def turn_format(self) -> None:
        """As hex what is shown as text, and the other way round."""
        if self.peek is not None:
            self.peek = self.peek._replace(as_hex=not self.peek.is_hex)
            self.body.scroll_home(animate=False, force=True)
            self.redraw()

    def move(self, rows: int) -> None:
        if self.peek is None and abs(rows) == 1 and self.turn(rows):
            return
        super().move(rows)

    def _bytes_wanted(self) -> int:
        """A few; the rest once one has scrolled to the end of these."""
        is_all_seen = self.body.scroll_offset.y >= self.body.max_scroll_y
        if self.peek is not None and len(self.peek.content) >= self._wanted_bytes and is_all_seen:
            self._wanted_bytes = MOST_BYTES
        return self._wanted_bytes

    def on_click(self, event: events.Click) -> None:
        super().on_click(event)
        widget = self.body if self.peek is None else self.query_one(".pane--peek", Block)
        row = event.screen_y - widget.region.y + round(widget.scroll_offset.y)
        pipe = self._drawing.pipe_at(event.screen_x - widget.region.x, row)
        if pipe is not None and widget.region.contains(event.screen_x, event.screen_y) and self.has_pipes:
            self.look_into(pipe)

    def as_text(self) -> str | None:
        return None if self.peek is None else peek_as_text(self.peek, self.job)

    # ---- drawing ----

    def on_resize(self) -> None:
        self.redraw()  # there may be room for the drawing above the bytes now, or none any more

    def redraw(self) -> None:
        if self.is_mounted:
            self.query_one(".pane--peek", Block).redraw()
        super().redraw()

    def title_right(self) -> Line:
        count = numbers.counted(len(self.job.stages), "stage")
        if self.has_pipes and self.is_current and self.peek is None and self.size.width >= 60:
            arrows = "h l" if self.host.charset.name == "ascii" else "←→"
            return [
                ("look into a pipe: ", "muted"),
                (arrows, "key"),
                (" choose, ", "muted"),
                ("enter", "key"),
                (f" opens   {count}", "muted"),
            ]
        return plain(count, "muted")

    def _draw(self, width: int) -> Drawing:
        chosen = self.chosen if self.is_current else None
        histories = self._recent.stages if self._recent else {}
        self._drawing = draw(self._shown_job(), DrawingContext(histories, width, self.host.charset, chosen))
        return self._drawing

    def _head_lines(self, width: int) -> list[Line]:
        """While a pipe is looked into: the drawing, where it leaves room for the bytes, and what they are."""
        if self.peek is None:
            return []
        job, number = self._shown_job(), self.peek.pipe
        pipe = next((each for each in job.pipes if each.number == number), None)
        head = peek_head(self.peek, job, pipe, width, self.host.charset)
        drawing = self._draw(width)
        if len(drawing.lines) + 1 + len(head) + LEAST_CONTENT < self.size.height:
            return [*drawing.lines, [], *head]
        self._drawing = Drawing([])
        return head

    def body_lines(self, width: int) -> list[Line]:
        if self.peek is not None:
            return peek_lines(self.peek, width, self.host.charset)
        lines = self._draw(width).lines
        return lines if self._is_beside_output() else [*lines, *self._last_output(width)]

    def wanted_height(self, width: int) -> int:
        if self.peek is None:
            return super().wanted_height(width)
        return len(self._draw(width).lines) + 2 + PEEK_HEAD + USUAL_CONTENT

    def _is_beside_output(self) -> bool:
        return bool(self.screen.query("#pane-2")) and self.screen.query_one("#pane-2").display

    def _last_output(self, width: int) -> list[Line]:
        self._tail.update(self.job)
        shown = self._tail.last_lines(TAIL_ROWS)
        if not shown:
            return []
        lines: list[Line] = [[(" ", "plain"), *line] for line in shown]
        return [[], plain(" its last output", "muted"), *lines]
