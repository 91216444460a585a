"""Pane 2, Output: a view of a growing file of any size that reads only what is seen. Following the end is a state."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from corral.observe.output import OutputFile
from corral.values.home import Home
from corral.values.jobs import STARTED_STATES, Job
from corral.values.text import resolve_returns
from corral_tui import numbers
from corral_tui.dashboard.ansi import output_line
from corral_tui.dashboard.lines import clean
from corral_tui.dashboard.marks import Charset
from corral_tui.dashboard.opened.output_rows import QUIET_SECONDS, STREAMS, OutputRows, Streams
from corral_tui.dashboard.presentscreen import Budget, PresentScreen, draws_in_place
from corral_tui.dashboard.styles import COMPONENTS, Palette, component_css

KEPT_STRIPS = 1000


class OutputView(ScrollView, can_focus=True):
    """Reads with pread, keeps no lines but those on the screen, paints a child's colours and nothing else of it."""

    COMPONENT_CLASSES: ClassVar[set[str]] = COMPONENTS
    DEFAULT_CSS = f"""
    OutputView {{ scrollbar-size-vertical: 1; scrollbar-background: $background; overflow-x: hidden; overflow-y: scroll; background: $background; }}
    {component_css("OutputView")}
    """

    def __init__(self, home: Home, charset: Charset, clock: Callable[[], datetime], *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._home = home
        self._charset = charset
        self._clock = clock
        self._rows: OutputRows | None = None
        self._screen: PresentScreen | None = None
        """Of a job that draws on the whole of its terminal: in lines its output would make no sense."""
        self._looked_at = 0
        self._job: Job | None = None
        self._strips: dict[int, Strip] = {}
        self._palette: Palette | None = None
        self.is_following = True
        self.problem: str | None = None

    # ---- what it shows ----

    def show_job(self, job: Job) -> None:
        """Show the output of this job; the same one again changes nothing."""
        if self._job is not None and self._job.id == job.id and len(self._job.stages) == len(job.stages):
            self._job = job
            return
        self.close()
        self._screen, self._looked_at = None, 0
        self._job = job
        paths = [
            self._home.stdout(job.id),
            *(self._home.stderr(job.id, stage.number) for stage in job.stages),
        ]
        self._rows = OutputRows(paths, "both", self._now())
        self.is_following = True
        self._forget_strips(0)
        self.look()

    def close(self) -> None:
        if self._rows is not None:
            self._rows.close()
            self._rows = None

    def on_unmount(self) -> None:
        self.close()

    def _now(self) -> float:
        return self._clock().timestamp()

    @property
    def streams(self) -> Streams:
        return self._rows.streams if self._rows else "both"

    def show_streams(self, step: int) -> None:
        """The next or the previous of stderr, both, stdout."""
        if self._rows is None:
            return
        number = (STREAMS.index(self._rows.streams) + step) % len(STREAMS)
        self._rows.show(STREAMS[number])
        self._forget_strips(0)
        self.look()

    def look(self) -> None:
        """Read how far the files have grown; a big one in slices, so that no key waits for it."""
        if self._rows is None:
            return
        if self._job is not None and self._draws_in_place(self._job):
            self._look_at_screen(self._job)
            return
        if self._screen is not None:
            self._screen = None
            self._forget_strips(0)
        try:
            changed = self._rows.update(self._now())
            is_complete = self._rows.is_complete
        except OSError as error:
            self.problem = f"the output cannot be read: {error.strerror or error}"
            return
        self.problem = None
        if changed is not None:
            self._forget_strips(changed)
        self._grow()
        if not is_complete and self.is_attached:
            self.set_timer(0.01, self.look)

    def _draws_in_place(self, job: Job) -> bool:
        if self.streams == "stderr" or not job.pty or job.stdout_bytes == self._looked_at:
            return self._screen is not None
        self._looked_at = job.stdout_bytes
        try:
            with OutputFile(self._home.stdout(job.id)) as file:
                return draws_in_place(file, job)
        except OSError:
            return False  # the lines say what is wrong with it

    def _look_at_screen(self, job: Job) -> None:
        self._screen = self._screen or PresentScreen(self._home, job.id)
        self._screen.update(job, Budget())
        self.problem = self._screen.problem
        self._forget_strips(0)
        self._grow()
        if not self._screen.is_complete and self.is_attached:
            self.set_timer(0.05, self.look)

    def _grow(self) -> None:
        rows = self.total_rows
        size = Size(self.scrollable_content_region.width, rows)
        if size != self.virtual_size:
            self.virtual_size = size
        if self.is_following:
            self._go_to_newest()
        self.refresh()

    def _go_to_newest(self) -> None:
        """To the end of the lines; on a screen to its cursor."""
        if self._screen is not None:
            first = self._screen.first_of(self.size.height)
            self.scroll_to(y=first, animate=False, immediate=True, force=True)
        else:
            self.scroll_end(animate=False, immediate=True, force=True)

    @property
    def total_rows(self) -> int:
        """The rows of the files, and one more that says how long nothing came."""
        if self._screen is not None:
            return self._screen.height
        count = self._rows.row_count if self._rows else 0
        return count + (1 if self.silence is not None and count else 0)

    @property
    def line_count(self) -> int:
        return self._rows.line_count if self._rows else 0

    @property
    def extent(self) -> str:
        """How much it shows: `3180 lines`, or `screen 80x24`."""
        if self._screen is None:
            return numbers.counted(self.line_count, "line")
        columns, rows = self._screen.size
        return f"screen {columns}x{rows}"

    @property
    def silence(self) -> float | None:
        """Seconds since the last output of a job that runs, where they are many."""
        job = self._job
        if job is None or job.state not in STARTED_STATES or job.last_output is None:
            return None
        seconds = (self._clock() - job.last_output).total_seconds()
        return seconds if seconds >= QUIET_SECONDS else None

    # ---- moving ----

    def follow(self, *, on: bool) -> None:
        """Follow the end, or stay where it is."""
        self.is_following = on
        if on:
            self._go_to_newest()
        self.refresh()

    def move(self, rows: int) -> None:
        """Scroll by so many rows. Up lets go of the end; f, G and the end take hold of it again."""
        if rows < 0:
            self.is_following = False
        self.scroll_relative(y=rows, animate=False, force=True)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self.is_following = False

    def on_resize(self) -> None:
        self._forget_strips(0)
        self._grow()

    # ---- painting ----

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._palette = None
        self._forget_strips(0)

    def _forget_strips(self, first: int) -> None:
        if first <= 0 or len(self._strips) > KEPT_STRIPS:
            self._strips.clear()
            return
        for row in [each for each in self._strips if each >= first]:
            del self._strips[row]

    def render_line(self, y: int) -> Strip:
        row = y + self.scroll_offset.y
        width = self.size.width
        strip = self._strips.get(row)
        if strip is None or strip.cell_length != width:
            strip = self._painted(row, width)
            if self._screen is None and self._rows is not None and row < self._rows.row_count:
                self._strips[row] = strip
        return strip

    def _painted(self, row: int, width: int) -> Strip:
        if self._palette is None:
            self._palette = Palette(self)
        palette = self._palette
        plain = palette.plain
        rows = self._rows
        if rows is None or row >= self.total_rows:
            text = self._empty_words() if row == 0 else ""
            return Strip([Segment(f" {text}", palette["muted"])]).adjust_cell_length(width, plain)
        if self._screen is not None:
            segments = [Segment(text, plain + style) for text, style in self._screen.row(row)]
            return Strip(segments).adjust_cell_length(width, plain)
        if row >= rows.row_count:
            return self._note(numbers.whole_duration(self.silence), width, palette)
        try:
            (line, note), *_ = rows.rows(row, 1) or [(b"", None)]
        except OSError as error:
            self.problem = f"the output cannot be read: {error.strerror or error}"
            line, note = b"", None
        if note is not None:
            return self._note(numbers.duration(float(note)), width, palette)
        segments = [Segment(" ", plain)]
        segments += [
            Segment(text, plain + style) for text, style in output_line(resolve_returns(line)) if text
        ]
        return Strip(segments).adjust_cell_length(width, plain)

    def _note(self, length: str, width: int, palette: Palette) -> Strip:
        rule = self._charset.rule * 2
        text = f" {rule} nothing for {length} {rule}"
        return Strip([Segment(text, palette["muted"])]).adjust_cell_length(width, palette.plain)

    def _empty_words(self) -> str:
        if self.problem is not None:
            return self.problem
        job = self._job
        if job is None:
            return ""
        where = "" if self.streams == "both" else f" on {self.streams}"
        if job.is_ended:
            return f"printed nothing{where}"
        return f"nothing printed{where} yet" + (f"; {clean(job.summary)}" if job.summary else "")
