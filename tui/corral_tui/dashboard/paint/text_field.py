"""Fields of one line, into which text is typed or pasted."""

from __future__ import annotations

from dataclasses import dataclass

from textual import events
from textual.message import Message
from textual.widgets import Input

from corral_tui.dashboard.paint.block_widgets import Block
from corral_tui.text.numbers import cells

MOST_PASTED = 64 << 10
"""Characters. Longer than any line that can be started, and short enough to be typed into a field at once."""


def pasted_lines(text: str) -> list[str]:
    """The command lines in a text that was pasted; one that goes on, by a backslash or at a pipe, is one line."""
    lines: list[str] = []
    goes_on = False
    for line in text.replace("\r\n", "\n").replace("\r", "\n").replace("\\\n", "").split("\n"):
        words = "".join(
            " " if letter == "\t" else letter for letter in line if letter == "\t" or letter.isprintable()
        )
        words = words.strip() if "\n" in text else words
        if not words:
            continue
        if lines and (goes_on or words.startswith("|")):
            lines[-1] += f" {words}"
        else:
            lines.append(words)
        goes_on = words.endswith("|")
    return lines


class OneLineInput(Input):
    """Takes one line. Of a paste of several none is taken, and nothing is lost: they are posted."""

    @dataclass
    class SeveralPasted(Message):
        """These lines were pasted, or none, where it was too much to be looked at."""

        lines: list[str]

        @property
        def problem(self) -> str:
            """What was wrong."""
            if not self.lines:
                return f"more than {MOST_PASTED} letters were pasted: too many for one line"
            return f"{len(self.lines)} lines were pasted, and this is one line"

    def on_paste(self, event: events.Paste) -> None:
        event.prevent_default().stop()
        is_too_long = len(event.text) > MOST_PASTED
        lines = [] if is_too_long else pasted_lines(event.text)
        if is_too_long or len(lines) > 1:
            self.post_message(self.SeveralPasted(lines))
        elif lines:
            self.replace(lines[0], *self.selection)


class LineInput(OneLineInput):
    """A line in full width. Tab, the arrows up and down, and enter belong to what is around it."""

    DEFAULT_CSS = """
    LineInput { height: 1; border: none; padding: 0; width: 1fr; background: $surface; }
    LineInput:focus { border: none; background: $surface; }
    LineInput > .input--selection { text-style: reverse; }
    """

    def column_of(self, position: int) -> int:
        """The column of the screen at which that character of the line stands, if it were scrolled into view."""
        return self.content_region.x + cells(self.value[:position]) - self.scroll_offset.x


class FieldInput(OneLineInput):
    """A short text in a field."""

    DEFAULT_CSS = """
    FieldInput { height: 1; border: none; padding: 0; width: 8; background: $surface; }
    FieldInput:focus { border: none; background: $surface; }
    """


class Label(Block):
    """Fixed words of fixed width."""

    DEFAULT_CSS = "Label { width: auto; height: 1; }"

    def __init__(self, words: str) -> None:
        super().__init__(lambda width: [[(words + " ", "muted")]])
