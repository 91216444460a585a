"""The line above an output where the filter is typed: only lines that contain it are shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input

from corral_tui.dashboard.paint.block_widgets import Block
from corral_tui.dashboard.paint.lines import Line
from corral_tui.dashboard.paint.text_field import Label, LineInput


class FilterLine(Horizontal):
    """Not seen until it is opened. While it has the focus, no letter acts; left with enter it stays and says what it found."""

    DEFAULT_CSS = """
    FilterLine { height: 1; display: none; }
    FilterLine > LineInput { width: auto; min-width: 12; max-width: 50%; }
    FilterLine > Block { width: 1fr; height: 1; }
    FilterLine > Label { width: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", show=False)]

    @dataclass
    class Typed(Message):
        """Other letters stand in it."""

        words: str

    @dataclass
    class Done(Message):
        """Left, by enter or by esc."""

        is_kept: bool

    def __init__(self, build_found: Callable[[int], list[Line]]) -> None:
        super().__init__()
        self._found = Block(build_found)

    def compose(self) -> ComposeResult:
        yield Label(" /")
        yield LineInput(compact=True)
        yield self._found

    @property
    def field(self) -> LineInput:
        return self.query_one(LineInput)

    @property
    def is_typed(self) -> bool:
        """Whether the keys go into it."""
        return self.field.has_focus

    def open(self) -> None:
        """Give it the keys. What stood in it is selected: the next letter takes its place."""
        self.display = True
        self.screen.set_focus(self.field)
        self.field.select_all()

    def close(self) -> None:
        self.display = False
        with self.prevent(Input.Changed):
            self.field.value = ""

    def redraw(self) -> None:
        self._found.redraw()

    def action_leave(self) -> None:
        self.post_message(self.Done(is_kept=False))

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Typed(event.value))

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Done(is_kept=bool(event.value)))
