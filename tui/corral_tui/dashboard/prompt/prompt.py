"""`n` and `c`: a command line, checked as it is typed, with the stages it will start and the fields of a job."""

from __future__ import annotations

import asyncio
import math
import os
import shlex
import subprocess
import tempfile
from typing import ClassVar, TypeVar
from weakref import WeakKeyDictionary

from textual import on
from textual.app import ComposeResult, SuspendNotSupported
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input

from corral.client.environment import surroundings
from corral.client.snapshot import Snapshot
from corral.model.errors import CorralError, UsageError
from corral.model.units import format_duration
from corral.protocol.requests import StartJobs
from corral_tui.dashboard.dialogs.base import LOW, BottomDialog
from corral_tui.dashboard.frame.screen import Host
from corral_tui.dashboard.paint.block_widgets import Block
from corral_tui.dashboard.paint.lines import Line, clean, cut, plain, wrapped
from corral_tui.dashboard.paint.text_field import FieldInput, Label, LineInput, OneLineInput
from corral_tui.dashboard.prompt import draft, prompt_text
from corral_tui.dashboard.prompt.completion import Completion, complete, complete_directory
from corral_tui.dashboard.prompt.fields import ON, ON_OR_OFF, Choice, Cycle, Radio, TextField
from corral_tui.dashboard.prompt.line_check import LineCheck, check_line, line_context
from corral_tui.text import numbers

PromptPart = TypeVar("PromptPart", bound=Widget)

CHECK_SECONDS = 0.15
"""From the last key to the check."""
LOOK_SECONDS = 1.0
"""For files that a pattern matches while it is typed. Enter waits for all of them."""
COMMAND_WIDTH = 120
"""Columns from which the same as a command is shown."""
WIDE = 100
"""Columns from which the line of keys has room for more words."""
ONE_ROW_WIDTH = 132
"""Columns from which the fields stand in one row."""

_kept_lines: WeakKeyDictionary[Host, str] = WeakKeyDictionary()
"""What stood in the prompt when esc left it."""


class PromptDialog(BottomDialog):
    """Starts a new pipeline, on its own or chained onto a job."""

    DEFAULT_CSS = """
    PromptDialog .prompt--line { height: 1; width: 100%; }
    PromptDialog .prompt--fields { height: 1; width: 100%; margin: 1 0 0 0; padding: 0 0 0 1; }
    PromptDialog .prompt--more-fields, PromptDialog.-low .prompt--fields { margin: 0; }
    PromptDialog #directory { width: auto; max-width: 30; min-width: 2; background: $background; }
    PromptDialog #prompt-start { width: 3; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "start", show=False, priority=True),
        Binding("tab", "complete_or_next", show=False, priority=True),
        Binding("shift+tab", "next_field(-1)", show=False, priority=True),
        Binding("ctrl+t", "start_with_shell", show=False, priority=True),
        Binding("ctrl+o", "edit", show=False, priority=True),
        Binding("up", "earlier(1)", show=False),
        Binding("down", "earlier(-1)", show=False),
    ]

    def __init__(self, host: Host, chain_onto: str | None = None) -> None:
        super().__init__(host, (chain_onto,) if chain_onto else ())
        self.chain_onto = chain_onto
        self.check: LineCheck | None = None
        self.candidates: tuple[str, ...] = ()
        self.is_starting = False
        self.earlier = draft.earlier_commands(tuple(host.snapshot.jobs.values()))
        self._kept = _kept_lines.get(host, "")
        """The line that stands there at first, selected: what is typed takes its place."""
        self._earlier_number = -1
        self._parts: dict[str, Widget] = {}
        self._typed = ""
        self._timer: Timer | None = None
        self._tabbed: tuple[str, int] | None = None

    @property
    def line(self) -> LineInput:
        return self._part("line", LineInput)

    # ---- its parts ----

    def compose(self) -> ComposeResult:
        for widget in self._compose_parts():
            part = widget.input if isinstance(widget, TextField) else widget
            self._parts[part.id or ""] = part
            yield widget

    def _part(self, id: str, kind: type[PromptPart]) -> PromptPart:  # noqa: A002
        """Not a query: while it closes, a part is asked for that is no child any more."""
        part = self._parts[id]
        assert isinstance(part, kind)
        return part

    def _compose_parts(self) -> ComposeResult:
        directory = draft.short_directory(draft.current_directory())
        yield Block(self._head_lines, id="dialog-head")
        with Horizontal(classes="prompt--line"):
            yield Label(" in" if not self.is_narrow else "")
            yield FieldInput(directory, compact=True, id="directory")
            yield Label(" $")
            yield LineInput(self._kept, compact=True, id="line", select_on_focus=False)
        yield Block(self._mark_lines, id="prompt-mark")
        yield Block(self._stage_lines, id="prompt-stages")
        yield from self._compose_fields()
        yield Block(self._command_lines, id="prompt-command")
        yield Block(self._key_lines, id="dialog-keys")

    def _compose_fields(self) -> ComposeResult:
        host, is_narrow = self.host, self.is_narrow
        menu, changed, run = f" {host.charset.menu}", self._options_changed, host.settings.run
        first: list[Widget] = [TextField("name", "-", 12, id="name")]
        if self.chain_onto:
            options = draft.chain_options(self.job, self.chain_onto)
            yield Radio("start", lambda: options, changed, id="chain")
        else:
            first += [
                Cycle("start", lambda: draft.start_options(host.snapshot), changed, menu=menu, id="start"),
                Cycle("stdin", lambda: draft.stdin_options(host.snapshot), changed, menu=menu, id="stdin"),
            ]
        stuck_options, then = draft.stuck_options(run.on_stuck), "" if is_narrow else "then"
        second: list[Widget] = [
            TextField("timeout", "none", 6, id="timeout"),
            TextField(
                "stuck" if is_narrow else "stuck after", format_duration(run.stuck_after), 4, id="stuck"
            ),
            Cycle(then, lambda: stuck_options, changed, menu=menu, id="on_stuck"),
            Cycle("pty", lambda: ON_OR_OFF, changed, id="pty"),
            Cycle("sh" if is_narrow else "with sh", lambda: ON_OR_OFF, self._check_soon, id="with_sh"),
        ]
        rows = [[*first, *second]]
        if is_narrow:
            rows = [first[:2], [*first[2:], *second[:1]], second[1:]]
        elif host.size.width < ONE_ROW_WIDTH:
            rows = [first, second]
        for number, row in enumerate(rows):
            with Horizontal(classes="prompt--fields prompt--more-fields" if number else "prompt--fields"):
                yield from row

    def on_mount(self) -> None:
        self._fit_directory()
        self.watch(self.line, "scroll_x", self._line_scrolled, init=False)
        self.watch(self.line, "selection", self._line_scrolled, init=False)
        self.line.focus()
        self.line.select_all()
        self._check_soon()

    @property
    def takes_keys(self) -> bool:
        """What is typed while it starts is meant for what follows, such as the next `n`."""
        return not self.is_starting

    def snapshot_applied(self, snapshot: Snapshot) -> None:
        if self.chain_onto:
            self._part("prompt-stages", Block).redraw()

    # ---- checking ----

    @property
    def directory(self) -> str:
        return draft.full_directory(self._part("directory", FieldInput).value)

    @property
    def with_shell(self) -> bool:
        return self._part("with_sh", Cycle).value == ON

    @on(Input.Changed)
    def _typed_something(self, event: Input.Changed) -> None:
        event.stop()
        self.candidates = ()
        self.problem = None
        if event.input.id == "directory":
            self._fit_directory()
        self._check_soon()

    def _fit_directory(self) -> None:
        directory = self._part("directory", FieldInput)
        directory.styles.width = min(numbers.cells(directory.value) + 1, max(self.host.size.width // 4, 8))

    def _line_scrolled(self) -> None:
        """The mark stays under its character."""
        self._part("prompt-mark", Block).redraw()

    def _options_changed(self) -> None:
        self.problem = None
        self.redraw()

    def _check_soon(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(CHECK_SECONDS, self._start_check)

    def _start_check(self) -> None:
        self.run_worker(self._check_now(), group="check", exclusive=True)

    async def _check_now(self, *, with_shell: bool = False, seconds: float = LOOK_SECONDS) -> LineCheck:
        """In a thread: stat on a dead file server may block forever."""
        if self._timer is not None:
            self._timer.stop()
        text, place = self.line.value, line_context(self.directory, seconds=seconds)
        check = await asyncio.to_thread(check_line, text, place, with_shell=with_shell or self.with_shell)
        self.check = check
        self.redraw()
        return check

    # ---- keys ----

    def action_next_field(self, step: int) -> None:
        fields = [one for one in self.query("*") if isinstance(one, Input | Choice)]
        here = next((number for number, one in enumerate(fields) if one.has_focus), 0)
        fields[(here + step) % len(fields)].focus()

    def action_complete_or_next(self) -> None:
        directory = self._part("directory", FieldInput)
        if directory.has_focus:
            self.run_worker(self._complete_directory(directory), group="complete", exclusive=True)
            return
        if self.line.has_focus and not self.with_shell:
            self.run_worker(self._complete(), group="complete", exclusive=True)
            return
        self.action_next_field(1)

    async def _complete_directory(self, field: FieldInput) -> None:
        typed = field.value
        path = draft.full_directory(typed) if typed else ""
        whole = await asyncio.to_thread(complete_directory, path)
        if not whole or typed.endswith("/") or self._tabbed == (whole, 0):
            self.action_next_field(1)
        elif field.value == typed:
            self._tabbed = (whole, 0)
            field.value = draft.short_directory(whole)
            field.cursor_position = len(field.value)

    async def _complete(self) -> None:
        text, cursor = self.line.value, self.line.cursor_position
        found = await asyncio.to_thread(complete, text, cursor, line_context(self.directory))
        if found is None or (found.applied(text) == (text, cursor) == self._tabbed):
            self._tabbed = None
            self.action_next_field(1)
            return
        self._take_completion(found, text)

    def _take_completion(self, found: Completion, text: str) -> None:
        """Where several are possible they are shown; a second tab that adds nothing goes on to the next field."""
        new_text, cursor = found.applied(text)
        with self.prevent(Input.Changed):
            self.line.value = new_text
        self.line.cursor_position = cursor
        self._tabbed = (new_text, cursor)
        self.candidates = found.candidates if len(found.candidates) > 1 else ()
        self._part("prompt-mark", Block).redraw()
        self._check_soon()

    def action_earlier(self, step: int) -> None:
        """Up goes to older commands, down to newer ones and at last to what was being typed."""
        if not self.line.has_focus:
            return
        if self._earlier_number < 0:
            self._typed = self.line.value
            if self._kept and self._kept != self._typed:
                self.earlier.insert(0, draft.Earlier(self._kept, False))
                self._kept = ""
        if not self.earlier:
            return
        self._earlier_number = min(max(self._earlier_number + step, -1), len(self.earlier) - 1)
        if self._earlier_number < 0:
            self._put_line(self._typed)
            return
        chosen = self.earlier[self._earlier_number]
        self._part("with_sh", Cycle).put(ON if chosen.with_shell else "")
        self._put_line(chosen.text)

    def on_one_line_input_several_pasted(self, message: OneLineInput.SeveralPasted) -> None:
        """A line is one job: none of them runs unseen, and each can be had."""
        message.stop()
        problem = message.problem
        if self.line.has_focus and message.lines:
            problem += f"; {self.host.charset.up} brings them one by one"
            self.earlier[:0] = [draft.Earlier(line, False) for line in message.lines]
            self._earlier_number = -1
        self.show_problem(problem)

    def _put_line(self, text: str) -> None:
        self.line.value = text
        self.line.cursor_position = len(text)

    def action_edit(self) -> None:
        """The line in the user's editor; new lines in it become blanks, as one line is what runs."""
        try:
            with self.app.suspend():
                text = edited(self.line.value)
        except SuspendNotSupported:
            self.show_problem("no editor can be opened in this terminal")
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            self.show_problem(f"the editor failed: {error}; set EDITOR to one that works")
        else:
            self._put_line(text)
            self.line.focus()

    def action_start(self) -> None:
        self._start(with_shell=False)

    def action_start_with_shell(self) -> None:
        self._start(with_shell=True)

    def _start(self, *, with_shell: bool) -> None:
        if not self.is_starting:
            self.is_starting = True
            self.run_worker(self._check_and_start(with_shell=with_shell), group="start")

    # ---- starting ----

    def _fields(self, *, with_shell: bool) -> draft.Fields:
        chain = self._part("chain", Radio).value if self.chain_onto else None
        return draft.Fields(
            name=self._part("name", FieldInput).value,
            start=draft.NOW if self.chain_onto else self._part("start", Cycle).value,
            stdin=draft.NO_INPUT if self.chain_onto else self._part("stdin", Cycle).value,
            timeout=self._part("timeout", FieldInput).value,
            stuck_after=self._part("stuck", FieldInput).value,
            on_stuck=self._part("on_stuck", Cycle).value,
            chain=chain,
            chain_onto=self.chain_onto,
            with_shell=with_shell or self.with_shell,
            with_terminal=self._part("pty", Cycle).value == ON,
        )

    async def _check_and_start(self, *, with_shell: bool) -> None:
        try:
            check = await self._check_now(with_shell=with_shell, seconds=math.inf)
            if check.pipeline is None or check.finding is not None:
                self._go_to_mark(check)
                return
            wanted = draft.wanted_of(self._fields(with_shell=with_shell), self.directory)
            columns, rows = self.host.size
            spec = draft.spec_of(check.text, check.pipeline, wanted, (columns, rows), self.host.settings.run)
            request = StartJobs(
                specs=(spec,), surroundings=surroundings(cwd=self.directory), wait_started=True
            )
            self._started((await self.host.source.call(request)).ids[0])
        except draft.FieldError as error:
            self.show_problem(str(error))
            self._part(error.field, FieldInput).focus()
        except CorralError as error:
            self.show_problem(str(error))
        finally:
            self.is_starting = False
            if self.host.dialog is self:
                self.host.keyboard.drop()  # it was typed for what should have come

    def _go_to_mark(self, check: LineCheck) -> None:
        """A wrong line starts nothing: the cursor goes to where it is wrong."""
        self.line.focus()
        if check.finding is not None:
            self.line.cursor_position = check.finding.position

    def _started(self, job_id: str) -> None:
        _kept_lines.pop(self.host, None)
        self.host.did("job.chain" if self.chain_onto else "job.new", (job_id,))
        super().leave()
        self.host.select_job(job_id)

    def leave(self) -> None:
        """The line stays for the next time."""
        _kept_lines[self.host] = self.line.value
        super().leave()

    # ---- what it says ----

    def title(self) -> tuple[str, str]:
        if self.chain_onto:
            return f"Chain onto {self.subject()}", "esc closes it"
        return "New pipeline", f"{self.host.charset.up} earlier commands   tab completes"

    def keys(self) -> list[tuple[str, str]]:
        enter = (
            "enter",
            "fix the marked error first" if self.host.size.width >= WIDE else "fix it first",
        )
        if not self.line.value.strip():
            enter = ("", "type a command")
        elif self.check is None or self.check.finding is None:
            count = len(self.check.stages) if self.check else 0
            enter = ("enter", f"starts {numbers.counted(count, 'stage')}" if count else "starts it")
        return [enter, ("esc", "closes"), ("tab", "next"), ("ctrl+t", "with sh"), ("ctrl+o", "$EDITOR")]

    def _mark_lines(self, width: int) -> list[Line]:
        charset = self.host.charset
        if self.candidates:
            return [cut(plain("   " + "  ".join(self.candidates), "muted"), width, charset.ellipsis)]
        finding = self.check.finding if self.check else None
        if self._kept and self.line.selected_text == self._kept:
            words = "   from last time: typing replaces it, "
            return [
                cut([(words, "muted"), ("end", "key"), (" continues it", "muted")], width, charset.ellipsis)
            ]
        if finding is None or not self.line.value or self.check is None or self.check.text != self.line.value:
            return [[]]
        column = self.line.column_of(finding.position) - self.region.x
        lines = prompt_text.finding_lines(finding, column, width, charset)
        return lines[:4] if self.host.size.height < LOW else lines

    def _stage_lines(self, width: int) -> list[Line]:
        charset = self.host.charset
        head = self._chain_lines(width) if self.chain_onto else []
        if self.check is None or not self.line.value:
            return [*head, plain("   such as   zcat big.gz | sort | uniq -c > top.txt", "muted")]
        if self.host.size.height < LOW:
            # So few rows are left that the reason goes before the drawing.
            most = 0 if self.check.finding else 1 if self.chain_onto else 2
        else:
            most = 12 if self.host.size.height >= 40 else 6
        return [*head, *prompt_text.stage_lines(self.check.stages, width, charset, most)]

    def _chain_lines(self, width: int) -> list[Line]:
        job = self.job
        if job is None:
            return [plain(f"   {self.chain_onto} is gone", "error")]
        words = "its stdout, from the first byte, followed live"
        words = "its stdout, from the first byte" if job.is_ended else words
        lines: list[Line] = [[(f"   {job.id} {clean(job.title)}", "bold"), (f"  {words}", "muted")]]
        if not job.stdout_bytes:
            lines.append(plain(f"   ! {job.id} has printed nothing on stdout yet", "warning"))
        return lines

    def _command_lines(self, width: int) -> list[Line]:
        if width < COMMAND_WIDTH or not self.line.value:
            return []
        offers_shell = bool(self.check and self.check.finding and self.check.finding.offers_shell)
        try:
            wanted = draft.wanted_of(self._fields(with_shell=offers_shell), self.directory)
        except UsageError:
            return []
        command = prompt_text.equivalent_command(self.line.value, wanted)
        lead = "with ctrl+t:  " if offers_shell and not self.with_shell else "the same as:  "
        return wrapped(f"{lead}{command}", width, indent="  ", hanging=" " * 18, role="muted")


def edited(text: str) -> str:
    """`text` as the user's editor leaves it, on one line.

    Raises:
        OSError: the editor cannot be run.
        ValueError: `$EDITOR` is not a command line.
        CalledProcessError: the editor says that it failed.
    """
    editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    with tempfile.NamedTemporaryFile("w+", suffix=".sh", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        subprocess.run([*editor, file.name], check=True)
        # By its name: an editor may write a new file in place of the old one.
        with open(file.name, encoding="utf-8", errors="replace") as written:
            lines = written.read().replace("\\\n", "").split("\n")
    return " ".join(line.strip() for line in lines if line.strip())
