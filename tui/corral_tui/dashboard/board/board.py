"""The board: one widget that draws every job, as panels or as a table, with one selection, scroll and mouse map."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from textual import events
from textual.message import Message

from corral.model.job import Job
from corral_tui.dashboard.board import panels, table
from corral_tui.dashboard.board.empty import draw_empty
from corral_tui.dashboard.board.preview import draw_preview, preview_height
from corral_tui.dashboard.board.view_state import BoardMap, ViewState
from corral_tui.dashboard.paint.job_words import title
from corral_tui.dashboard.paint.lines import Line, Spans, width_of
from corral_tui.dashboard.paint.row_widget import EMPTY, Painted, Row, padded_row
from corral_tui.settings.dashboard import Order, View
from corral_tui.text.charset import Charset
from corral_tui.text.numbers import cells, duration

WHEEL_ROWS = 3


class Board(Painted, can_focus=True):
    """Every job of the list. It draws a view state; the selection belongs to its model."""

    DEFAULT_CSS = """
    Board { width: 100%; height: 1fr; }
    """

    @dataclass
    class Selected(Message):
        """A job was clicked."""

        job_id: str

    @dataclass
    class Opened(Message):
        """The selected job was clicked again."""

        job_id: str

    @dataclass
    class OrderAsked(Message):
        """The head of a column was clicked."""

        order: Order

    class EndedAsked(Message):
        """The line of ended jobs was clicked."""

    class Scrolled(Message):
        """Other jobs are in view."""

    def __init__(self) -> None:
        super().__init__(id="board")
        self.view_state: ViewState | None = None
        self.view: View = "panels"
        self.preview: bool | None = None
        """Whether the preview is wanted; None lets the room decide."""
        self.covered = 0
        """Rows at the bottom that a dialog covers."""
        self._offset = 0
        self._layout = BoardMap()
        self._cache: table.RowCache = {}
        self._body_height = 0
        self._ended_row: int | None = None
        self._is_dragging = False

    # ---- drawing ----

    def draw(self, view_state: ViewState, *, is_dimmed: bool = False) -> None:
        """Draw this state; only cells that differ are painted again."""
        self.view_state = view_state
        width, height = self.size
        if width <= 0 or height <= 0:
            return
        below = self._rows_below(view_state, width, height)
        wanted_preview = 0
        if self.view == "table" and not view_state.model.is_empty:
            wanted_preview = preview_height(height - len(below), self.preview)
        self._body_height = max(height - len(below) - wanted_preview, 1)
        self._offset = min(self._offset, self.last_offset)
        rows = self._body(view_state, width, self._body_height)
        rows += draw_preview(view_state, view_state.model.selected, width, wanted_preview)
        self._ended_row = len(rows) if below else None
        rows += below
        self.show(rows[:height], is_dimmed=is_dimmed)

    def _body(self, view_state: ViewState, width: int, height: int) -> list[Row]:
        if view_state.model.is_empty or not view_state.model.shown:
            if view_state.model.filter or view_state.model.shows_ended:
                self._layout = BoardMap()
                words = "no job contains this text" if view_state.model.filter else "no job"
                return [EMPTY, Row(((f"  {words}", "muted"),)), *[EMPTY] * height][:height]
            rows, self._layout = draw_empty(view_state, view_state.model.shown, width, height)
            return rows
        if self.view == "panels":
            rows, self._layout = panels.draw_panels(view_state, width, height, self._offset)
            return rows
        if len(self._cache) > 4 * max(height, 50):
            self._cache.clear()
        rows, self._layout = table.draw_table(view_state, width, height, self._offset, self._cache)
        return rows

    def _rows_below(self, view_state: ViewState, width: int, height: int) -> list[Row]:
        """The line of ended jobs, or what part of a table is in view."""
        if view_state.model.is_empty or height < 10:
            return []
        line = self._line_below(view_state, width)
        if not line:
            return [EMPTY] if height >= 36 and self.view == "table" else []
        return [
            padded_row(line, width, view_state.charset.ellipsis),
            *([EMPTY] if height >= 36 else []),
        ]

    def _line_below(self, view_state: ViewState, width: int) -> Spans:
        model = view_state.model
        ended = ended_line(view_state, model.folded, width - 16, view_state.charset) if model.folded else ()
        key: Spans = (("e", "key"), (" show them ", "muted"))
        if model.shows_ended:
            ended, key = ((" ended jobs are shown", "muted"),), (("e", "key"), (" folds them ", "muted"))
        if model.unlisted_queued:
            more: Spans = ((f" {model.unlisted_queued:,} more are queued", "muted"),)
            ended, key = (*more, *ended), key if ended else (("G", "key"), (" lists more ", "muted"))
        if not ended:
            return ()
        missing = width - width_of((*ended, *key))
        return (*ended, (" " * max(missing, 1), "plain"), *key)

    # ---- what fits ----

    def capacity_for(self, view: View) -> int:
        """How many jobs there is room for in that view."""
        width, height = self.size
        if view == "panels":
            return panels.capacity(width, max(height - 1, 1))
        return max(height - 3, 1)

    @property
    def visible_ids(self) -> tuple[str, ...]:
        """The jobs in view, and the selected one, which the preview shows."""
        ids = tuple(self._layout.jobs)
        selected = self.view_state.model.selected_id if self.view_state else None
        return ids if selected is None or selected in ids else (*ids, selected)

    def visible_jobs(self) -> list[Job]:
        jobs = self.view_state.model.snapshot.jobs if self.view_state else {}
        return [jobs[each] for each in self.visible_ids if each in jobs]

    # ---- scrolling ----

    @property
    def columns(self) -> int:
        """Jobs that stand side by side."""
        if self.view == "panels" and self.view_state:
            return panels.column_count(self.size.width, len(self.view_state.model.shown))
        return 1

    @property
    def page(self) -> int:
        """How many jobs a page holds."""
        return max(self._lines_in_view(0) * self.columns, 1)

    def _lines_in_view(self, covered: int) -> int:
        """How many lines of jobs fit above the covered rows."""
        free = max(min(self._body_height, self.size.height - covered), 1)
        if self.view == "panels" and self.view_state:
            tall = panels.panel_height(self.size.width, self._body_height, len(self.view_state.model.shown))
            return max(free // tall, 1)
        heads = 1 if self._body_height >= 12 else 0
        return max(free - heads, 1)

    @property
    def last_offset(self) -> int:
        if self.view_state is None or self.view_state.model.is_empty:
            return 0
        lines = -(-len(self.view_state.model.shown) // self.columns)
        return max(lines - self._lines_in_view(self.covered), 0)

    def scroll_lines(self, by: int) -> None:
        """Move the view, not the selection."""
        self._set_offset(self._offset + by)

    def reveal_selected(self) -> None:
        """Scroll so that the selected job is in view, above what a dialog covers."""
        if self.view_state is None:
            return
        index = self.view_state.model.index
        if index < 0:
            return
        line = index // self.columns
        in_view = self._lines_in_view(self.covered)
        if line < self._offset:
            self._set_offset(line)
        elif line >= self._offset + in_view:
            self._set_offset(line - in_view + 1)

    def _set_offset(self, offset: int) -> None:
        offset = min(max(offset, 0), self.last_offset)
        if offset != self._offset:
            self._offset = offset
            self.post_message(self.Scrolled())

    # ---- mouse ----

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.scroll_lines(WHEEL_ROWS if self.view == "table" else 1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.scroll_lines(-WHEEL_ROWS if self.view == "table" else -1)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        if self._is_on_scrollbar(event.x, event.y):
            self._is_dragging = True
            self.capture_mouse()
            self._drag_to(event.y)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self._is_dragging:
            self._drag_to(event.y)

    def on_mouse_up(self, event: events.MouseUp) -> None:
        if self._is_dragging:
            self._is_dragging = False
            self.release_mouse()

    def on_click(self, event: events.Click) -> None:
        if self._is_on_scrollbar(event.x, event.y):
            return
        if event.y == self._ended_row:
            self.post_message(self.EndedAsked())
            return
        order = self._layout.order_at(event.x, event.y)
        if order is not None:
            self.post_message(self.OrderAsked(order))
            return
        job_id = self._layout.job_at(event.x, event.y)
        if job_id is None:
            return
        is_again = self.view_state is not None and self.view_state.model.selected_id == job_id
        self.post_message(self.Opened(job_id) if is_again or event.chain > 1 else self.Selected(job_id))

    def _is_on_scrollbar(self, x: int, y: int) -> bool:
        return self.last_offset > 0 and self._layout.scrollbar.contains(x, y)

    def _drag_to(self, y: int) -> None:
        track = max(self._body_height - 2, 1)
        self._set_offset(round(max(y - 1, 0) / track * self.last_offset))


def ended_line(view_state: ViewState, jobs: Iterable[Job], width: int, charset: Charset) -> Spans:
    """` ended today: ✓ 7 lint 12s   ✓ 8 fetch-deps 1m02s`; where they do not fit, their number."""
    known = list(jobs)
    is_today = all(_is_today(job, view_state.now) for job in known)
    head = f" ended{' today' if is_today else ''}: "
    line: Line = [(head, "muted")]
    room = width - cells(head)
    if width >= 84:
        for job in known:
            status = view_state.status(job)
            text = f"{status.mark} {job.id} {title(job)} {duration(job.elapsed)}   "
            room -= cells(text)
            line.append((text, "muted"))
        if room >= 0:
            return line
    well = sum(job.state == "succeeded" for job in known)
    stopped = len(known) - well
    words = [f"{charset.succeeded} {well} well"] if well else []
    words += [f"{charset.stopping} {stopped} stopped"] if stopped else []
    return ((head, "muted"), ("   ".join(words), "muted"))


def _is_today(job: Job, now: datetime) -> bool:
    return job.ended is not None and job.ended.astimezone().date() == now.astimezone().date()
