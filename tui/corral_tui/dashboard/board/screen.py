"""The main screen: header, the one sentence, the board, the footer; and what the keys do on it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import ClassVar

from textual import events
from textual.app import ComposeResult

from corral.client.snapshot import Snapshot
from corral.model.errors import CorralError
from corral.model.job import Job
from corral.protocol.protocol_number import FIRST_QUEUED
from corral.protocol.requests import AskRecentHistory
from corral_tui.dashboard.board.board import Board
from corral_tui.dashboard.board.header import count_jobs, header
from corral_tui.dashboard.board.order_and_selection import ORDERS, Model, order_words
from corral_tui.dashboard.board.sparklines import SparkHistories
from corral_tui.dashboard.board.status_line import Events, sentence
from corral_tui.dashboard.board.top_lines import TopLines
from corral_tui.dashboard.board.view_state import ViewState
from corral_tui.dashboard.frame.actions import Context, Scope
from corral_tui.dashboard.frame.footer import Footer, StripLine
from corral_tui.dashboard.frame.screen import DashboardScreen, Host
from corral_tui.dashboard.paint.lines import Span, Spans
from corral_tui.dashboard.paint.output_tails import Tails
from corral_tui.dashboard.paint.row_widget import padded_row
from corral_tui.settings.dashboard import View

DRAW_SECONDS = 0.25
"""Between two slices of the screens of jobs that draw theirs."""
KEYS_WHEN_EMPTY = ("job.new", "job.restart", "job.open", "view.ended", "app.palette")


class BoardScreen(DashboardScreen):
    """Every job at a glance."""

    scope: ClassVar[Scope] = "board"
    AUTO_FOCUS = "#board"
    DEFAULT_CSS = "BoardScreen { layout: vertical; overflow: hidden; }"

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.top = TopLines()
        self.board = Board()
        self.strip_line = StripLine(id="strip")
        self.footer = Footer(host.action_act)
        self.events = Events()
        self.history = SparkHistories()
        self._wanted_id: str | None = None
        self._grew_over = False
        """The table was taken because there are too many jobs, not because the terminal is small."""
        self._asked_queued, self._most_listed = FIRST_QUEUED, 0
        """How many queued jobs we asked for, and the most that were listed when we did."""
        self._is_drawing = False
        """Screens of jobs are being drawn in slices."""
        self._do_by_id = self._doers()

    def compose(self) -> ComposeResult:
        yield self.top
        yield self.board
        yield self.strip_line
        yield self.footer

    def on_mount(self) -> None:
        host = self.host
        self.model = Model(host.snapshot)
        self.model.order, self.model.is_reversed = host.settings.order, host.settings.is_reversed
        self.tails = Tails(host.source.home)
        self.model.arrange(host.clock())
        self._select_first()
        if host.settings.notice:
            self.events.say(host.settings.notice, host.clock())

    # ---- drawing ----

    def on_resize(self, event: events.Resize) -> None:
        self.top.set_class(event.size.height < 8, "-low")
        self.footer.display = event.size.height >= 5
        self.call_after_refresh(self._resized)

    def _resized(self) -> None:
        self._decide_view(is_resized=True)
        self._show_selected()

    def refresh_all(self) -> None:
        """Read what grew, and draw."""
        if not self.is_mounted:
            return
        view_state = self._view_state()
        self.board.draw(view_state, is_dimmed=bool(view_state.model.snapshot.trouble))
        self._see()
        self.redraw()

    def redraw(self) -> None:
        """Draw what is known now."""
        view_state = self._view_state()
        trouble = bool(view_state.model.snapshot.trouble)
        self.board.draw(view_state, is_dimmed=trouble)
        width = self.size.width
        lines = [padded_row(header(view_state, count_jobs(view_state), width), width)]
        if not self.top.has_class("-low"):
            lines.append(padded_row(sentence(view_state, self.events, width, self._prompt()), width))
        self.top.show(lines)
        self.strip_line.put(self.host.strip, self.host.charset.ellipsis)
        self.footer.relabel("view.switch", "table" if self.board.view == "panels" else "panels")
        is_empty = self.model.is_empty
        self.footer.relabel("job.restart", "run again" if is_empty else "restart")
        self.footer.relabel("view.ended", "ended jobs" if is_empty else "ended")
        self.footer.show_keys(
            self.context(),
            KEYS_WHEN_EMPTY if is_empty else None,
            is_private=self.host.source.is_private,
        )

    def _view_state(self) -> ViewState:
        host = self.host
        return ViewState(
            self.model,
            self.history,
            self.tails,
            host.clock(),
            host.charset,
            host.is_ready,
            host.source.is_private,
        )

    def _prompt(self) -> Spans | None:
        """Line 2 while a filter is typed or holds; what was said a moment ago goes before one that only holds."""
        model = self.model
        if self.top.typed is None and (not model.filter or self.events.fresh(self.host.clock())):
            return None
        found = model.matches()
        hidden = f", {len(model.hidden_marked)} marked ones hidden" if model.hidden_marked else ""
        count = f"   {found} of {sum(not job.hidden for job in model.snapshot.jobs.values())}{hidden}"
        if self.top.typed is not None:
            notice = self.top.notice
            told: Span = (f"   {notice}", "warning") if notice else (count, "muted")
            return (*self.top.prompt(self.host.charset), told)
        return (
            ("/ ", "key"),
            (model.filter, "bold"),
            (count + "   ", "muted"),
            ("esc", "key"),
            (" shows all", "muted"),
        )

    def _see(self) -> None:
        """Take in what is in view: its output, its sparks; and tell the daemon."""
        now = self.host.clock()
        jobs = self.board.visible_jobs()
        if not self.tails.update(jobs) and not self._is_drawing:
            self._is_drawing = True
            self.set_timer(DRAW_SECONDS, self._go_on_drawing)
        missing = self.history.missing(jobs, now)
        self.history.note(jobs, now)
        self.host.look(job.id for job in jobs)
        if missing and not self.model.snapshot.trouble:
            self.run_worker(self._fill_history(missing), group="history", exit_on_error=True)

    def _go_on_drawing(self) -> None:
        self._is_drawing = False
        self.refresh_all()

    async def _fill_history(self, job_ids: tuple[str, ...]) -> None:
        try:
            answer = await self.host.source.call(AskRecentHistory(ids=job_ids))
        except CorralError:
            return  # sparks begin with now; the header says if the daemon is gone
        now = self.host.clock()
        for job_id, recent in answer.past.items():
            self.history.fill(job_id, recent, now)
        self.redraw()

    # ---- what comes in ----

    def snapshot_applied(self, snapshot: Snapshot) -> None:
        now = self.host.clock()
        before = self.model.snapshot
        self.model.apply(snapshot, now)
        has_changed = self.events.follow(before, snapshot, self.host.charset)
        self._select_wanted()
        if not before.jobs:
            self._select_first()
        if has_changed or not before.rev:
            self.history.keep_only(snapshot.jobs)
            self._decide_view(is_resized=not before.rev)
            self.refresh_all()

    def ticked(self, now: datetime) -> None:
        if self.model.order != "started":
            self.model.arrange(now)
        self.refresh_all()

    def strip_changed(self) -> None:
        if self.is_mounted:
            self.redraw()

    def show_said(self, text: str) -> None:
        self.events.say(text, self.host.clock())
        self.redraw()

    def on_screen_resume(self) -> None:
        if self.size:
            self.refresh_all()

    # ---- selection ----

    @property
    def job(self) -> Job | None:
        return self.model.selected

    def context(self) -> Context:
        return replace(super().context(), marked=self.model.marked, hidden=self.model.hidden_marked)

    def select_job(self, job_id: str) -> None:
        self._wanted_id = job_id
        self._select_wanted()
        self._show_selected()

    def _select_first(self) -> None:
        """At opening the job that needs a human is selected, if there is one."""
        urgent = [job for job in self.model.urgent() if not job.is_ended]
        if urgent:
            self.model.select(urgent[0].id)

    def _select_wanted(self) -> None:
        if self._wanted_id is not None and self._wanted_id in self.model.snapshot.jobs:
            self.model.select(self._wanted_id)
            self._wanted_id = None
            self.board.reveal_selected()

    def reveal(self, job_ids: tuple[str, ...], covered: int) -> None:
        below = self.size.height - self.board.region.bottom
        self.board.covered = max(covered - below, 0)
        if covered == 0:
            self.set_focus(self.board)
        if job_ids and job_ids[0] in self.model.snapshot.jobs:
            self.model.select(job_ids[0])
        self._show_selected()

    def _show_selected(self) -> None:
        if not self.is_mounted:
            return
        self.board.draw(self._view_state())
        self.board.reveal_selected()
        self.refresh_all()
        is_at_end = self.model.index == len(self.model.shown) - 1
        if is_at_end and self.model.unlisted_queued and not self.model.filter:
            self.run_worker(self._list_more_queued(), group="queue", exclusive=True, exit_on_error=True)

    async def _list_more_queued(self) -> None:
        """The selection is at the end of what is listed of the queue."""
        listed = self.model.listed_queued
        if listed > self._most_listed:
            self._most_listed, self._asked_queued = listed, 2 * self._asked_queued
        with suppress(CorralError):  # the header says if the daemon is gone
            await self.host.source.subscribe(queued=self._asked_queued)

    def _decide_view(self, *, is_resized: bool) -> None:
        """Panels while every job fits as one; the table once they do not. A pinned view stays."""
        pinned = self.host.settings.view
        capacity = self.board.capacity_for("panels")
        fits = len(self.model.shown) <= capacity
        if pinned is not None:
            self.board.view = pinned
        elif not fits:
            self._grew_over = self._grew_over or not is_resized
            self.board.view = "table"
        elif is_resized and not self._grew_over:
            self.board.view = "panels"
        self.model.capacity = self.board.capacity_for(self.board.view)

    # ---- keys and mouse ----

    def do(self, action_id: str) -> bool:
        doer = self._do_by_id.get(action_id)
        if doer is None:
            return False
        self.model.touch(self.host.clock())
        doer()
        return True

    def _doers(self) -> dict[str, Callable[[], None]]:
        return {
            "move.down": lambda: self._move(self.board.columns),
            "move.up": lambda: self._move(-self.board.columns),
            "move.left": lambda: self._move_aside(-1),
            "move.right": lambda: self._move_aside(1),
            "move.first": lambda: self._move_to(0),
            "move.last": lambda: self._move_to(len(self.model.shown) - 1),
            "move.page_up": lambda: self._move(-self.board.page),
            "move.page_down": lambda: self._move(self.board.page),
            "move.half_up": lambda: self._move(-max(self.board.page // 2, 1)),
            "move.half_down": lambda: self._move(max(self.board.page // 2, 1)),
            "job.urgent": self._go_to_urgent,
            "job.mark": self._mark,
            "view.filter": self._start_filter,
            "view.order": self._next_order,
            "view.reverse": self._reverse,
            "view.switch": self._switch_view,
            "view.ended": self._toggle_ended,
            "view.preview": self._toggle_preview,
            "app.back": self._back,
        }

    def _move(self, by: int) -> None:
        index = self.model.index
        if (
            self.board.columns > 1
            and abs(by) == self.board.columns
            and not 0 <= index + by < len(self.model.shown)
        ):
            # Down from above an empty place goes to the last panel; up from the first line stays.
            if by > 0 and index // self.board.columns < (len(self.model.shown) - 1) // self.board.columns:
                self._move_to(len(self.model.shown) - 1)
            return
        self.model.move(by)
        self._show_selected()

    def _move_aside(self, by: int) -> None:
        if self.board.columns > 1:
            self.model.move(by)
            self._show_selected()

    def _move_to(self, index: int) -> None:
        self.model.move_to(index)
        self._show_selected()

    def _go_to_urgent(self) -> None:
        job = self.model.next_urgent()
        if job is None:
            self.show_said("nothing needs you")
            return
        if job.id not in {each.id for each in self.model.shown} and self.model.filter:
            self.model.filter_by("", self.host.clock())
        self._show_selected()
        self.host.did("job.urgent", (job.id,))

    def _mark(self) -> None:
        self.model.toggle_mark()
        self.model.move(1)
        self._show_selected()
        if self.model.marks:
            self.show_said(f"{len(self.model.marked)} marked; s stops them, esc clears the marks")

    def _start_filter(self) -> None:
        self.top.begin(self.model.filter)
        self.set_focus(self.top)
        self.redraw()

    def on_top_lines_typed(self, message: TopLines.Typed) -> None:
        self.model.filter_by(message.text, self.host.clock())
        if message.is_done:
            self.set_focus(self.board)
        self._decide_view(is_resized=False)
        self._show_selected()

    def _next_order(self) -> None:
        place = ORDERS.index(self.model.order)
        self.model.sort_by(ORDERS[(place + 1) % len(ORDERS)], self.host.clock())
        self._say_order()

    def _reverse(self) -> None:
        self.model.reverse(self.host.clock())
        self._say_order()

    def _say_order(self) -> None:
        model = self.model
        problem = self.host.settings.keep_order(model.order, is_reversed=model.is_reversed)
        self._show_selected()
        if problem:
            self.show_said(problem)
            return
        words = order_words(model.order, is_reversed=model.is_reversed)
        self.events.show(words, self.host.clock())
        self.redraw()

    def on_board_order_asked(self, message: Board.OrderAsked) -> None:
        now = self.host.clock()
        self.model.touch(now)
        self.model.sort_by(message.order, now)
        self._say_order()

    def _switch_view(self) -> None:
        view: View = "table" if self.board.view == "panels" else "panels"
        problem = self.host.settings.pin(view)
        self._decide_view(is_resized=True)
        self._show_selected()
        if problem:
            self.show_said(problem)
        self.host.did("view.switch")

    def _toggle_ended(self) -> None:
        self.model.show_ended(not self.model.shows_ended, self.host.clock())
        self._decide_view(is_resized=False)
        self._show_selected()

    def on_board_ended_asked(self) -> None:
        self._toggle_ended()

    def _toggle_preview(self) -> None:
        if self.board.view == "panels":
            self.show_said("the preview is part of the table; v shows the table")
            return
        is_shown = self.board.preview if self.board.preview is not None else self.board.size.height >= 36
        self.board.preview = not is_shown
        self._show_selected()

    def _back(self) -> None:
        """One thing at a time: the filter, then the marks, then the ended jobs. Never out of the program."""
        if self.model.filter:
            self.model.filter_by("", self.host.clock())
        elif self.model.marks:
            self.model.marks.clear()
        elif self.model.shows_ended:
            self.model.show_ended(False, self.host.clock())
        self._show_selected()

    def on_board_selected(self, message: Board.Selected) -> None:
        self.model.touch(self.host.clock())
        self.model.select(message.job_id)
        self._show_selected()

    def on_board_opened(self, message: Board.Opened) -> None:
        self.model.select(message.job_id)
        self.host.open_job(message.job_id)

    def on_board_scrolled(self) -> None:
        self.model.touch(self.host.clock())
        self.refresh_all()

    def on_mouse_move(self) -> None:
        self.model.touch(self.host.clock())
