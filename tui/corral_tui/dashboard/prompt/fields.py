"""The fields of the prompt: small texts, and values that are chosen from a few."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.style import Style
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal

from corral_tui.dashboard.paint.block_widgets import FocusBlock
from corral_tui.dashboard.paint.lines import Line
from corral_tui.dashboard.paint.text_field import FieldInput, Label
from corral_tui.text.numbers import cells

ON = "on"
ON_OR_OFF = (("", "[ ]"), (ON, "[x]"))
"""What a `Cycle` offers that is a check box."""


class TextField(Horizontal):
    """A label and a short text."""

    DEFAULT_CSS = """
    TextField { width: auto; height: 1; margin: 0 2 0 0; }
    TextField > Block { width: auto; }
    """

    def __init__(self, label: str, placeholder: str, cells_wide: int, *, id: str) -> None:  # noqa: A002
        super().__init__(id=f"field-{id}")
        self._label = label
        self.input = FieldInput(placeholder=placeholder, compact=True, select_on_focus=True, id=id)
        self.input.styles.width = cells_wide

    def compose(self) -> ComposeResult:
        yield Label(self._label)
        yield self.input


class Choice(FocusBlock):
    """One of a few values: space and the arrows go to the next. `options` are asked for when it is used."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space,right", "turn(1)", show=False),
        Binding("left", "turn(-1)", show=False),
    ]

    def __init__(
        self,
        label: str,
        options: Callable[[], Sequence[tuple[str, str]]],
        changed: Callable[[], None],
        *,
        menu: str = "",
        id: str,  # noqa: A002
    ) -> None:
        super().__init__(self.choice_lines, id=id)
        self.label = label
        self.options = options
        self.menu = menu
        self._changed = changed
        self.value, self.words = options()[0]

    def choice_lines(self, width: int) -> list[Line]:
        raise NotImplementedError

    def put(self, value: str) -> None:
        """Choose the option of that value, if it is still one."""
        for each, words in self.options():
            if each == value:
                self.value, self.words = each, words
                self.redraw()
                self.refresh(layout=True)
                self._changed()

    def action_turn(self, step: int) -> None:
        values = [value for value, _ in self.options()]
        here = values.index(self.value) if self.value in values else 0
        self.put(values[(here + step) % len(values)])


class Cycle(Choice):
    """Shows its value alone, and behind it the mark of a menu; a click goes to the next one, too."""

    DEFAULT_CSS = "Cycle { width: auto; height: 1; margin: 0 2 0 0; }"

    def on_click(self) -> None:
        self.focus()
        self.action_turn(1)

    def choice_lines(self, width: int) -> list[Line]:
        return [[(f"{self.label} " if self.label else "", "muted"), (f"{self.words}{self.menu}", "plain")]]


class Radio(Choice):
    """Shows all of its values, which are sentences; a click chooses one."""

    DEFAULT_CSS = "Radio { width: 1fr; height: auto; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "turn(1)", show=False),
        Binding("up", "turn(-1)", show=False),
    ]

    def overlay(self) -> Style | None:
        return None

    def on_click(self, event: events.Click) -> None:
        self.focus()
        for value, y, start, end in self._places(self.size.width):
            if event.y == y and start <= event.x < end:
                self.put(value)

    def _places(self, width: int) -> list[tuple[str, int, int, int]]:
        """Where each option stands: its value, row, first and last column."""
        places: list[tuple[str, int, int, int]] = []
        start = cells(self.label) + 2
        x, y = start, 0
        for value, words in self.options():
            needed = cells(f"( ) {words}")
            if x > start and x + needed > width:
                x, y = start, y + 1
            places.append((value, y, x, x + needed))
            x += needed + 2
        return places

    def choice_lines(self, width: int) -> list[Line]:
        words_of = dict(self.options())
        lines: list[Line] = []
        for value, y, x, _ in self._places(width):
            if y == len(lines):
                lines.append([(f" {self.label} " if y == 0 else " " * x, "muted")])
            else:
                lines[y].append(("  ", "plain"))
            is_chosen = value == self.value
            look: Style | str = "title" if is_chosen else "plain"
            text = f"{'(•)' if is_chosen else '( )'} {words_of[value]}"
            lines[y].append((text, Style(reverse=True) if is_chosen and self.has_focus else look))  # type: ignore[arg-type]
        return lines

    def on_focus(self) -> None:
        self.redraw()

    def on_blur(self) -> None:
        self.redraw()
