"""The screen of one opened job: six panes, all at once where there is room, else as tabs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.geometry import Size
from textual.widgets import Input

from corral.client.snapshot import Snapshot
from corral.model.job import Job
from corral.model.urgency import is_stuck
from corral_tui.dashboard.dialogs.signal import SignalDialog
from corral_tui.dashboard.frame.actions import PANES, Context, Scope
from corral_tui.dashboard.frame.footer import Footer, StripLine
from corral_tui.dashboard.frame.screen import DashboardScreen, Host
from corral_tui.dashboard.job.about_pane import AboutPane
from corral_tui.dashboard.job.charts_pane import ChartsPane
from corral_tui.dashboard.job.header import head_lines, tab_at, tab_line
from corral_tui.dashboard.job.output_pane import OutputPane
from corral_tui.dashboard.job.pane import Pane
from corral_tui.dashboard.job.peek_text import Peek
from corral_tui.dashboard.job.pipeline_pane import PipelinePane
from corral_tui.dashboard.job.tree_pane import TreePane
from corral_tui.dashboard.job.why_pane import WhyPane
from corral_tui.dashboard.paint.block_widgets import Block
from corral_tui.dashboard.paint.lines import Line, plain, rule

ALL_COLUMNS, ALL_ROWS = 120, 36
"""From this size on all panes are shown at once."""
FEW_ROWS = 5
"""An output as short as that gives some of its width to the panes beside it."""
WHY_PLACE = 2
"""Of the pane Why among those from the third on."""
POLL_SECONDS = 0.25
SAID_FOR = timedelta(seconds=6)
FIRST_KEYS = {
    1: ("pipe.peek", "pipe.format"),
    2: ("output.filter", "output.follow", "output.wrap"),
    3: ("job.signal",),
    5: ("job.attach", "job.copy"),
    6: ("job.environment",),
}
"""What can be done in a pane stands first in its footer."""
PANE_NUMBERS = {name.lower(): number for number, name in enumerate(PANES, start=1)}


class JobScreen(DashboardScreen):
    """One job, opened. A job that ends, or is removed, while it is open stays readable."""

    scope: ClassVar[Scope] = "opened"
    DEFAULT_CSS = """
    JobScreen { layers: default dialog; overflow: hidden; }
    JobScreen > #opened-tabs { height: auto; }
    JobScreen > #panes { height: 1fr; }
    JobScreen #side { width: 1fr; height: 1fr; }
    JobScreen #middle { height: 1fr; }
    JobScreen.-all #pane-2 { width: 5fr; }
    JobScreen.-all #side { width: 3fr; margin: 0 0 0 1; }
    JobScreen.-all.-quiet #pane-2 { width: 2fr; }
    JobScreen.-tabs .pane--title { display: none; }
    """

    def __init__(self, host: Host, job_id: str, pane: str | None = None) -> None:
        super().__init__(host)
        self.job_id = job_id
        self._wanted_pane = pane
        self._last_known: Job | None = None
        self.current = 1
        self.is_zoomed = False
        self._said: tuple[str, datetime] | None = None

    # ---- the job ----

    @property
    def job(self) -> Job | None:
        """As it is now, or as it was last when the daemon knows it no more."""
        found = self.host.snapshot.jobs.get(self.job_id)
        if found is not None:
            self._last_known = found
        return self._last_known

    def _first_pane(self, job: Job) -> int:
        """A stuck one opens on Why, a pipeline on its drawing, any other on its output."""
        if self._wanted_pane in PANE_NUMBERS:
            return PANE_NUMBERS[self._wanted_pane or ""]
        if is_stuck(job) or job.was_ended_as_stuck:
            return 5
        return 1 if len(job.stages) > 1 else 2

    # ---- its parts ----

    def compose(self) -> ComposeResult:
        job, host = self.job, self.host
        yield Block(self._head_lines, id="opened-head")
        if job is None:
            yield Block(lambda width: [plain(f" there is no job {self.job_id}", "error")], id="opened-tabs")
            yield Footer(host.action_act)
            return
        self.current = self._first_pane(job)
        yield TabLine(self)
        with Vertical(id="panes"):
            yield PipelinePane(host, job)
            with Horizontal(id="middle"):
                yield OutputPane(host, job)
                with Vertical(id="side"):
                    yield TreePane(host, job)
                    yield ChartsPane(host, job)
                    yield WhyPane(host, job)
                    yield AboutPane(host, job)
        yield StripLine(id="strip")
        yield Footer(host.action_act)

    @property
    def panes(self) -> list[Pane]:
        return list(self.query(Pane))

    def pane(self, number: int) -> Pane | None:
        return next((each for each in self.panes if each.number == number), None)

    def on_mount(self) -> None:
        self.host.look((self.job_id,))
        self._arrange()
        self.set_interval(POLL_SECONDS, self._poll)
        self.call_after_refresh(self._poll)

    def on_screen_resume(self) -> None:
        self.host.look((self.job_id,))

    def on_resize(self, event: events.Resize) -> None:
        self._arrange()

    # ---- where each pane stands ----

    @property
    def shows_all(self) -> bool:
        size: Size = self.host.size
        return size.width >= ALL_COLUMNS and size.height >= ALL_ROWS and not self.is_zoomed

    def _arrange(self) -> None:
        panes = self.panes
        if not panes:
            return
        everything = self.shows_all
        is_big = self.host.size.width >= ALL_COLUMNS and self.host.size.height >= ALL_ROWS
        self.set_class(everything, "-all")
        self.set_class(not everything, "-tabs")
        for pane in panes:
            pane.is_current = pane.number == self.current
            pane.display = everything or pane.is_current
            pane.styles.height = "1fr"
        self.query_one("#middle").display = everything or self.current != 1
        self.query_one("#side").display = everything or self.current > 2
        self.query_one("#opened-tabs").display = not is_big or self.is_zoomed
        self._share_rows()
        current = self.pane(self.current)
        if current is not None and self.host.dialog is None and not current.has_focus_within:
            self.set_focus(current.body)
        self._redraw()

    def _share_rows(self) -> None:
        """Where all are shown: empty panes give their room away. Beside each other the last one takes what is left."""
        if not self.shows_all:
            return
        width, height = self.host.size
        rows = height - 3 - (self.host.strip is not None)
        pipeline = self.pane(1)
        if pipeline is not None:
            # While a pipe is looked into, its bytes are what one wants to see.
            most = rows * 3 // 5 if self.peeked is not None else rows * 2 // 5
            first = min(pipeline.wanted_height(width), most)
            pipeline.styles.height = first
            rows -= first
        side = [pane for pane in self.panes if pane.number > 2]
        output = self.pane(2)
        is_quiet = output is not None and output.is_mounted and output.wanted_height(width) <= FEW_ROWS
        self.set_class(is_quiet, "-quiet")
        side_width = (width * 3 // 5 if is_quiet else width * 3 // 8) - 2
        wanted = [one.wanted_height(side_width) for one in side]
        for pane, share in zip(side, self._shares(wanted, rows), strict=True):
            pane.styles.height = share

    def _shares(self, wanted: Sequence[int], rows: int) -> list[int]:
        """Rows for the panes from the third on. Of a stuck job Why comes first."""
        job = self.job
        if job is None or job.health != "stuck" or len(wanted) != len(PANES) - 2:
            return shared(wanted, rows)
        why = min(wanted[WHY_PLACE], rows // 2)
        others = shared([*wanted[:WHY_PLACE], *wanted[WHY_PLACE + 1 :]], rows - why)
        return [*others[:WHY_PLACE], why, *others[WHY_PLACE:]]

    # ---- following the daemon ----

    def snapshot_applied(self, snapshot: Snapshot) -> None:
        job = self.job
        if job is None:
            return
        for pane in self.panes:
            pane.put(job)
        self._share_rows()
        self._redraw()
        # The board below hears of the snapshot too, and has asked for the jobs that it shows.
        self.host.look((self.job_id,))

    def ticked(self, now: datetime) -> None:
        if self._said is not None and now - self._said[1] > SAID_FOR:
            self._said = None
        self._redraw()

    async def _poll(self) -> None:
        """Textual awaits a timer's callback before the next tick: polls never overlap."""
        if self.app.screen is not self or self.host.snapshot.trouble:
            return
        now = self.app._loop.time() if self.app._loop else 0.0
        for pane in self.panes:
            await pane.poll(now)
        self._share_rows()
        for line in self.query(TabLine):
            line.redraw()

    def _redraw(self) -> None:
        # A tick may come before the parts are mounted, and one more while they are being removed.
        for head in self.query("#opened-head").results(Block):
            head.redraw()
        for line in self.query(TabLine):
            line.redraw()
        for pane in self.panes:
            if pane.display:
                pane.redraw()
        for strip in self.query(StripLine):
            strip.put(self.host.strip, self.host.charset.ellipsis)
        for footer in self.query(Footer):
            peeked = self.peeked
            footer.relabel("pipe.peek", "peek" if peeked is None else "close")
            footer.relabel("pipe.format", "as text" if peeked is not None and peeked.is_hex else "as hex")
            # While letters are typed, no key acts that could be offered.
            only = () if isinstance(self.focused, Input) else None
            first = FIRST_KEYS.get(self.current, ())
            footer.show_keys(self.context(), only, first, is_private=self.host.source.is_private)

    def strip_changed(self) -> None:
        self._redraw()

    def _head_lines(self, width: int) -> list[Line]:
        job = self.job
        if job is None:
            return [plain(f" {self.job_id}", "title"), []]
        host = self.host
        said = host.snapshot.trouble or (self._said[0] if self._said else None)
        if said is None and self.job_id not in host.snapshot.jobs:
            said = f"job {self.job_id} was removed; this is what is known of it"
        return head_lines(job, host.snapshot, host.clock(), said, width, host.charset)

    def show_said(self, text: str) -> None:
        self._said = (text, self.host.clock())
        self._redraw()

    def reveal(self, job_ids: tuple[str, ...], covered: int) -> None:
        """Nothing is scrolled: the dialog is about this job. When it goes the focus comes back."""
        current = self.pane(self.current)
        if covered == 0 and current is not None:
            self.set_focus(current.body)

    # ---- keys ----

    def do(self, action_id: str) -> bool:
        doer = self._doers().get(action_id)
        if doer is None:
            return False
        return doer() is not False

    def _doers(self) -> dict[str, Callable[[], object]]:
        pane = self.pane(self.current)
        if pane is None:
            return {"app.back": self._back}
        page = max(pane.body.size.height - 1, 1)
        return {
            "move.down": lambda: pane.move(1),
            "move.up": lambda: pane.move(-1),
            "move.page_down": lambda: pane.move(page),
            "move.page_up": lambda: pane.move(-page),
            "move.half_down": lambda: pane.move(max(page // 2, 1)),
            "move.half_up": lambda: pane.move(-max(page // 2, 1)),
            "move.first": lambda: pane.move_to_edge(end=False),
            "move.last": lambda: pane.move_to_edge(end=True),
            "move.left": lambda: pane.turn(-1) or True,
            "move.right": lambda: pane.turn(1) or True,
            **{f"pane.{number}": partial(self.show_pane, number) for number in PANE_NUMBERS.values()},
            "pane.zoom": self._zoom,
            "pane.open": self._zoom,
            "pipe.peek": self._peek,
            "pipe.format": self._turn_format,
            "job.previous": lambda: self._step(-1),
            "job.next": lambda: self._step(1),
            "job.urgent": self._go_to_urgent,
            "job.why": lambda: self.show_pane(5),
            "job.signal": self._signal,
            "job.copy": self._copy,
            "job.environment": self._toggle_values,
            "output.follow": self._follow,
            "output.wrap": self._wrap,
            "output.filter": self._filter,
            "app.back": self._back,
        }

    def show_pane(self, number: int) -> None:
        """Give a pane the focus; as tabs, show it."""
        self.current = number
        self._arrange()
        self.call_after_refresh(self._poll)

    def _zoom(self) -> None:
        if not self.is_zoomed and not self.shows_all:
            self.show_said("this pane has the whole screen already")
            return
        self.is_zoomed = not self.is_zoomed
        self._arrange()

    def context(self) -> Context:
        return replace(super().context(), pane=self.current, is_peeking=self.peeked is not None)

    @property
    def peeked(self) -> Peek | None:
        """The look into a pipe, while one is open."""
        pipeline = self.pane(1)
        return pipeline.peek if isinstance(pipeline, PipelinePane) else None

    def _peek(self) -> None:
        """Look into the chosen pipe, or away."""
        pipeline = self.query_one(PipelinePane)
        if pipeline.peek is not None:
            pipeline.look_away()
        elif pipeline.chosen is not None:
            pipeline.look_into(pipeline.chosen)
        self._peek_changed()

    def _peek_changed(self) -> None:
        self._share_rows()
        self._redraw()
        self.call_after_refresh(self._poll)

    def _turn_format(self) -> None:
        self.query_one(PipelinePane).turn_format()
        self._redraw()

    def _back(self) -> None:
        """One thing at a time: a dialog, the look into a pipe, the zoom, then the screen."""
        if self.host.dialog is not None:
            self.host.close_dialog()
        elif self.peeked is not None and self.current == 1:
            self._peek()
        elif self._output_is_seen() and self.query_one(OutputPane).show_all():
            self._redraw()
        elif self.is_zoomed:
            self._zoom()
        else:
            self.app.pop_screen()

    def _step(self, by: int) -> None:
        ids = [job.id for job in self.host.snapshot.jobs.values() if not job.hidden]
        if not ids:
            return
        here = ids.index(self.job_id) if self.job_id in ids else 0
        self.open_other(ids[(here + by) % len(ids)])

    def _go_to_urgent(self) -> None:
        job = self.host.next_urgent(self.job_id)
        if job is not None and job.id != self.job_id:
            self.open_other(job.id)
        else:
            self.show_said("no other job needs you")

    def open_other(self, job_id: str) -> None:
        """The same screen for another job."""
        self.job_id = job_id
        job = self.job
        if job is None:
            return
        self._said = None
        self._wanted_pane = None
        self.host.select_job(job_id)
        self.host.look((job_id,))
        for pane in self.panes:
            pane.put(job)
        self.current = self._first_pane(job) if not self.shows_all else self.current
        self._arrange()
        self.call_after_refresh(self._poll)

    def _signal(self) -> None:
        tree = self.query_one(TreePane)
        pid = tree.selected_pid if self.current == tree.number else None
        self.host.show_dialog(SignalDialog(self.host, self.job_id, pid))

    def _copy(self) -> bool:
        """The pane's text where it has one; else the app copies the job's summary."""
        pane = self.pane(self.current)
        text = pane.as_text() if pane is not None else None
        if text is None:
            return False
        self.app.copy_to_clipboard(text)
        self.show_said("copied as text")
        return True

    def _toggle_values(self) -> None:
        about = self.query_one(AboutPane)
        about.toggle_values()
        self.show_pane(about.number)

    def _follow(self) -> None:
        output = self.query_one(OutputPane)
        if not self._output_is_seen():
            self.show_pane(output.number)
        self.show_said(
            "following the end" if output.toggle_follow() else "not following; f follows the end again"
        )

    def _wrap(self) -> None:
        output = self.query_one(OutputPane)
        if not self._output_is_seen():
            self.show_pane(output.number)
        is_on = output.toggle_wrap()
        self.show_said("long lines are wrapped" if is_on else "long lines are cut; W wraps them")

    def _filter(self) -> None:
        """The letters go into a field of the output from now on, whichever pane had the keys."""
        output = self.query_one(OutputPane)
        if self.current != output.number:
            self.show_pane(output.number)
        output.filter_line.open()
        self._redraw()

    def _output_is_seen(self) -> bool:
        return self.pane(2) is not None and self.query_one(OutputPane).display

    # ---- mouse ----

    @on(Pane.Clicked)
    def _pane_clicked(self, message: Pane.Clicked) -> None:
        if message.number != self.current:
            self.show_pane(message.number)
        elif message.number == 1:
            self._peek_changed()


class TabLine(Block):
    """The names of the panes with their keys; a click shows one."""

    def __init__(self, screen: JobScreen) -> None:
        super().__init__(self._tab_lines, id="opened-tabs")
        self._opened = screen

    def _tab_lines(self, width: int) -> list[Line]:
        charset = self._opened.host.charset
        tabs = tab_line(self._opened.current, width, charset)
        if self._opened.host.size.height < 18:
            return [tabs]
        pane = self._opened.pane(self._opened.current)
        right = pane.title_right() if pane is not None and pane.is_mounted else []
        return [tabs, rule([], right, width, charset.rule)]

    def on_click(self, event: events.Click) -> None:
        number = tab_at(event.x, self._opened.current, self.size.width)
        if event.y == 0 and number is not None:
            self._opened.show_pane(number)


def shared(wanted: Sequence[int], total: int) -> list[int]:
    """`total` rows shared out: nobody gets more than wanted while another wants more; what is over goes to the last."""
    given = [0] * len(wanted)
    left = total
    open_places = list(range(len(wanted)))
    while open_places and left > 0:
        fair = max(left // len(open_places), 1)
        content = [place for place in open_places if wanted[place] - given[place] <= fair]
        for place in content or open_places:
            share = min(wanted[place] - given[place], fair, left)
            given[place] += share
            left -= share
        open_places = [place for place in open_places if given[place] < wanted[place]]
    if given:
        given[-1] += max(left, 0)
    return given
