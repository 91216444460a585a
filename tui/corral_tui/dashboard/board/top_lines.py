"""Lines 1 and 2 of the board, and the filter that is typed into the second."""

from __future__ import annotations

from dataclasses import dataclass

from rich.style import Style
from textual import events
from textual.message import Message

from corral_tui.dashboard.paint.lines import Spans
from corral_tui.dashboard.paint.row_widget import Painted
from corral_tui.dashboard.paint.text_field import MOST_PASTED, OneLineInput, pasted_lines
from corral_tui.text.charset import Charset, Role


class TopLines(Painted, can_focus=True):
    """Lines 1 and 2. Has the focus while a filter is typed into line 2."""

    DEFAULT_CSS = "TopLines { height: 2; } TopLines.-low { height: 1; }"

    @dataclass
    class Typed(Message):
        """The filter's text has changed; `is_done` where no more is typed."""

        text: str
        is_done: bool = False

    def __init__(self) -> None:
        super().__init__(id="top")
        self.typed: str | None = None
        """The filter being typed; None while none is."""
        self.notice: str | None = None
        """Why what was pasted last is no filter."""
        self.is_earlier = False
        """What stands there is the filter of before: the next letter takes its place."""

    def begin(self, earlier: str) -> None:
        """From now on letters go into the filter."""
        self.typed, self.is_earlier, self.notice = earlier, bool(earlier), None

    def prompt(self, charset: Charset) -> Spans:
        """What was typed, and the cursor."""
        look: Role | Style = Style(reverse=True) if self.is_earlier else "bold"
        return (("/ ", "key"), (self.typed or "", look), (charset.bar_edges[1], "accent"))

    def check_consume_key(self, key: str, character: str | None) -> bool:
        """No letter acts while a filter is typed."""
        return self.typed is not None and character is not None and character.isprintable()

    def on_key(self, event: events.Key) -> None:
        if self.typed is None:
            return
        if event.key in ("enter", "escape"):
            self._end("" if event.key == "escape" else self.typed)
        elif event.key in ("backspace", "ctrl+h"):
            self._type("" if self.is_earlier else self.typed[:-1])
        elif event.key == "ctrl+u":
            self._type("")
        elif event.key in ("right", "end"):
            self._type(self.typed)
        elif event.is_printable and event.character:
            self._add(event.character)
        else:
            return
        event.stop()
        event.prevent_default()

    def on_paste(self, event: events.Paste) -> None:
        if self.typed is None:
            return
        event.stop()
        lines = pasted_lines(event.text[:MOST_PASTED])
        if len(lines) == 1:
            self._add(lines[0])
        elif lines:
            self.notice = OneLineInput.SeveralPasted(lines).problem
            self.post_message(self.Typed(self.typed))

    def on_blur(self) -> None:
        if self.typed is not None:
            self._end(self.typed)

    def _add(self, text: str) -> None:
        self._type(text if self.is_earlier else (self.typed or "") + text)

    def _type(self, text: str) -> None:
        self.typed, self.is_earlier, self.notice = text, False, None
        self.post_message(self.Typed(text))

    def _end(self, text: str) -> None:
        self.typed = None
        self.post_message(self.Typed(text, is_done=True))
