"""Pane 2, Output: a view of a growing file of any size that reads only what is seen. Following the end is a state."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.scrollbar import ScrollDown, ScrollTo, ScrollUp
from textual.strip import Strip
from textual.timer import Timer

from corral.model.home import Home
from corral.model.job import STARTED_STATES, Job
from corral.model.text import after_carriage_returns
from corral.output.reader import OutputFile
from corral_tui.dashboard.job.output.layout import Layout, Top, with_hits, wrapped_line
from corral_tui.dashboard.job.output.line_filter import FilteredRows
from corral_tui.dashboard.job.output.rows import QUIET_SECONDS, STREAMS, OutputRows, Streams
from corral_tui.dashboard.paint.ansi import OutputLine, output_line
from corral_tui.dashboard.paint.lines import clean, cut
from corral_tui.dashboard.paint.styles import Coloured, Colours
from corral_tui.dashboard.paint.terminal_preview import Budget, PresentScreen, after_screens, draws_in_place
from corral_tui.text import numbers
from corral_tui.text.charset import Charset

WHEEL_ROWS = 3


class OutputView(ScrollView, Coloured, can_focus=True, inherit_bindings=False):
    """Reads with pread, keeps no lines but those on the screen, paints a child's colours and nothing else of it.

    It has no keys of its own: whoever moves in it does so by `move`, which knows of following the end.
    """

    DEFAULT_CSS = """
    OutputView { scrollbar-size-vertical: 1; scrollbar-background: $background; overflow-x: hidden; overflow-y: scroll; background: $background; }
    """

    def __init__(self, home: Home, charset: Charset, clock: Callable[[], datetime], *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._home = home
        self._charset = charset
        self._clock = clock
        self._rows: OutputRows | None = None
        self._filtered: FilteredRows | None = None
        """Only the lines with certain letters, while these are typed or hold."""
        self._screen: PresentScreen | None = None
        """Of a job that draws on the whole of its terminal: in lines its output would make no sense."""
        self._looked_at = 0
        self._job: Job | None = None
        self._lines = Layout(self._painted)
        self._top = Top(0)
        self._wanted_row: int | None = None
        """Of all rows the one to stay at, until as much was looked at for the filter."""
        self._next_look: Timer | None = None
        self.is_following = True
        self.wraps = True
        self.problem: str | None = None

    # ---- what it shows ----

    def show_job(self, job: Job) -> None:
        """Show the output of this job; the same one again changes nothing."""
        if self._job is not None and self._job.id == job.id and len(self._job.stages) == len(job.stages):
            self._job = job
            return
        self.close()
        self._screen, self._filtered, self._looked_at = None, None, 0
        self._job = job
        self._rows = OutputRows(self._home.outputs(job.id, len(job.stages)), "both", self._now())
        self.is_following = True
        self._lines.forget()
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
        if self._filtered is not None:
            self._filtered = FilteredRows(self._rows, self._filtered.words)
        self._lines.forget()
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
            self._lines.forget()
        try:
            is_complete = self._look_at_lines(self._rows)
        except OSError as error:
            self.problem = f"the output cannot be read: {error.strerror or error}"
            return
        self.problem = None
        self._grow()
        if not is_complete:
            self._look_again(0.01)

    def _look_at_lines(self, rows: OutputRows) -> bool:
        """Whether that was all there is to be looked at."""
        changed = rows.update(self._now())
        if self._filtered is None:
            if changed is not None:
                self._lines.forget(changed)
            return rows.is_complete
        if self._filtered.update(has_grown=changed is not None):
            self._lines.forget()
        return self._filtered.is_complete

    def _look_again(self, seconds: float) -> None:
        """One look at a time, however often one asks for it."""
        if self._next_look is not None:
            self._next_look.stop()
        if self.is_attached:
            self._next_look = self.set_timer(seconds, self.look)

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
        self._lines.forget()
        self._grow()
        if not self._screen.is_complete:
            self._look_again(0.05)

    def _grow(self) -> None:
        """There is more to show, or less, or it takes other rows."""
        self._lines.line_count = self.total_lines
        if self._source is not None:
            self._lines.forget(max(self._source.row_count, 1))  # how long nothing came
        if self.size.height:
            self._settle()

    def _settle(self) -> None:
        last = self._lines.last_top(self.size.height)
        if self.is_following:
            top = last if self._screen is None else Top(self._screen.first_of(self.size.height))
        else:
            top = min(self._kept_top(), last)
        # The scrollbar counts lines: how many rows they all take would have to be measured.
        self.virtual_size = Size(self.width, last.line + self.size.height)
        self._put_top(top)

    def _kept_top(self) -> Top:
        if self._wanted_row is None:
            return self._top
        row, filtered = self._wanted_row, self._filtered
        if filtered is None or filtered.is_complete:
            self._wanted_row = None
        return Top(row if filtered is None else filtered.row_from(row))

    def _put_top(self, top: Top) -> None:
        self._top = top
        self.scroll_to(y=top.line, animate=False, immediate=True, force=True)
        self.refresh()

    @property
    def width(self) -> int:
        """The columns beside the scrollbar."""
        return self.scrollable_content_region.width

    @property
    def _source(self) -> OutputRows | FilteredRows | None:
        return self._filtered or self._rows

    @property
    def total_lines(self) -> int:
        """The lines that are shown, notes included, and one more that says how long nothing came."""
        if self._screen is not None:
            return self._screen.height
        count = self._source.row_count if self._source else 0
        return count + (1 if self._filtered is None and self.silence is not None and count else 0)

    def rows_up_to(self, most: int) -> int:
        """How many rows of the screen all of it takes, or `most`, where that is less."""
        return self._lines.count_up_to(most) if self.width else self.total_lines

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

    # ---- only some lines ----

    @property
    def filter(self) -> str:
        """The letters that each line shown holds; empty where all are shown."""
        return self._filtered.words if self._filtered else ""

    def show_only(self, words: str) -> None:
        """Show only the lines with these letters; all of them without any."""
        if self._rows is None or words == self.filter:
            return
        if self._filtered is None:
            self._wanted_row = self._top.line
        elif self._wanted_row is None:
            self._wanted_row = self._filtered.plain_row(self._top.line)
        self._filtered = FilteredRows(self._rows, words) if words else None
        self._lines.forget()
        self.look()

    @property
    def found(self) -> str:
        """What came of the filter: `12 of 3180 lines`, and how far it looked while that goes on."""
        filtered = self._filtered
        if filtered is None:
            return ""
        words = f"{filtered.found} of {numbers.counted(self.line_count, 'line')}"
        if filtered.found > filtered.row_count:
            words += f", the newest {filtered.row_count} shown"
        return words if filtered.is_complete else f"{words}, {filtered.looked_at:.0%} looked at"

    # ---- moving ----

    def follow(self, *, on: bool) -> None:
        """Follow the end, or stay where it is."""
        self.is_following = on
        self._wanted_row = None
        self._grow()

    def move(self, rows: int) -> None:
        """Scroll by so many rows. Up lets go of the end; the end takes hold of it again."""
        self._move_to(self._lines.moved(self._top, rows))

    def move_to_first(self) -> None:
        self._move_to(Top(0))

    def _move_to(self, top: Top) -> None:
        last = self._lines.last_top(self.size.height)
        self._wanted_row = None
        self.is_following = top >= last
        self._put_top(min(top, last))

    def wrap(self, *, on: bool) -> None:
        """Show long lines in several rows, or only as much of each as fits into one."""
        self.wraps = on
        self._top = Top(self._top.line)
        self._lines.forget()
        self._grow()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.prevent_default().stop()
        self.move(-WHEEL_ROWS)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.prevent_default().stop()
        self.move(WHEEL_ROWS)

    def on_scroll_to(self, message: ScrollTo) -> None:
        """The scrollbar was drawn somewhere."""
        message.prevent_default().stop()
        self._move_to(Top(max(round(message.y or 0), 0)))

    def on_scroll_up(self, message: ScrollUp) -> None:
        """The scrollbar was clicked above its grip."""
        message.prevent_default().stop()
        self.move(1 - self.size.height)

    def on_scroll_down(self, message: ScrollDown) -> None:
        message.prevent_default().stop()
        self.move(self.size.height - 1)

    def on_resize(self) -> None:
        self._top = Top(self._top.line)
        self._lines.forget()
        self._grow()

    # ---- painting ----

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._lines.forget()

    def render_lines(self, crop: Region) -> list[Strip]:
        width, plain = self.width, self.colours.plain
        seen = self._lines.seen(self._top, self.size.height)
        if not self._lines.line_count:
            words = Segment(f" {self._empty_words()}", self.colours["muted"])
            seen = [Strip([words]).adjust_cell_length(width, plain)]
        blank = Strip.blank(width, plain)
        shown = [seen[y] if y < len(seen) else blank for y in range(crop.y, crop.bottom)]
        return [strip.crop(crop.x, crop.right) for strip in shown]

    def _painted(self, first: int, count: int) -> list[list[Strip]]:
        """So many lines from line `first` on as rows of the screen."""
        source, width, colours = self._source, self.width, self.colours
        if self._screen is not None:
            screen = self._screen
            return [[self._row(screen.row(line))] for line in range(first, first + count)]
        try:
            found = source.rows(first, min(count, source.row_count - first)) if source else []
        except OSError as error:
            self.problem = f"the output cannot be read: {error.strerror or error}"
            found = []
        rows = [self._rows_of(line, note) for line, note in found]
        if source is not None and first + count > source.row_count:
            rows.append([self._note(numbers.whole_duration(self.silence), width, colours)])
        blank = [Strip.blank(width, colours.plain)]
        return [*rows, *[blank] * (count - len(rows))]

    def _rows_of(self, line: bytes, note: str | None) -> list[Strip]:
        if note is not None:
            return [self._note(numbers.duration(float(note)), self.width, self.colours)]
        pieces = output_line(after_carriage_returns(after_screens(line)))
        if self._filtered is not None:
            pieces = with_hits(pieces, self._filtered.pattern)
        if not self.wraps:
            short = cut(pieces, self.width - 1, self._charset.ellipsis)
            return [self._row(tuple((text, style) for text, style in short if isinstance(style, Style)), " ")]
        first, *others = wrapped_line(pieces, self.width - 1)
        return [self._row(first, " "), *(self._row(row, self._charset.goes_on) for row in others)]

    def _row(self, pieces: OutputLine, margin: str = "") -> Strip:
        plain = self.colours.plain
        segments = [Segment(margin, self.colours["muted"])] if margin else []
        segments += [Segment(text, plain + style) for text, style in pieces if text]
        return Strip(segments).adjust_cell_length(self.width, plain)

    def _note(self, length: str, width: int, colours: Colours) -> Strip:
        rule = self._charset.rule * 2
        text = f" {rule} nothing for {length} {rule}"
        return Strip([Segment(text, colours["muted"])]).adjust_cell_length(width, colours.plain)

    def _empty_words(self) -> str:
        if self.problem is not None:
            return self.problem
        job = self._job
        if job is None:
            return ""
        if self._filtered is not None:
            return "no line contains this text" if self._filtered.is_complete else "looking"
        where = "" if self.streams == "both" else f" on {self.streams}"
        if job.is_ended:
            return f"printed nothing{where}"
        return f"nothing printed{where} yet" + (f"; {clean(job.summary)}" if job.summary else "")
