"""The help: every key, what it does and what the marks mean, from the registry and the table of marks."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

from corral_tui.dashboard.frame.actions import ACTIONS, Action, Scope, key_name
from corral_tui.dashboard.frame.screen import OfOneSize
from corral_tui.dashboard.paint.block_widgets import ScrolledLines
from corral_tui.dashboard.paint.lines import Line
from corral_tui.text.charset import Charset, Role, stuck_label
from corral_tui.text.numbers import left

_TITLES: dict[Scope, str] = {
    "board": "On the list",
    "opened": "In an opened job",
    "dialog": "In a question or a prompt",
}
_KEYS_WIDTH = 16


class HelpScreen(ModalScreen[None], OfOneSize):
    """All keys, over what is on the screen; any of esc, q and ? leaves it."""

    DEFAULT_CSS = """
    HelpScreen { align: center middle; }
    HelpScreen ScrolledLines {
        width: 90%; max-width: 100; height: 90%; background: $surface; padding: 1 2;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,enter", "leave", show=False),
        Binding("j", "scroll(1)", show=False),
        Binding("k", "scroll(-1)", show=False),
    ]

    def __init__(self, scope: Scope, charset: Charset, *, is_private: bool) -> None:
        super().__init__()
        self._lines = help_lines(scope, charset, is_private=is_private)

    def compose(self) -> ComposeResult:
        yield ScrolledLines(lambda width: self._lines, id="help")

    def action_leave(self) -> None:
        self.dismiss()

    def action_scroll(self, by: int) -> None:
        self.query_one(ScrolledLines).scroll_relative(y=by, animate=False)


def help_lines(scope: Scope, charset: Charset, *, is_private: bool) -> list[Line]:
    """The keys of `scope` first, then those of the others, then the marks."""
    lines: list[Line] = [[("Corral", "bold"), ("   esc closes this help", "muted")], []]
    shown: set[str] = set()
    for each in (scope, *(other for other in _TITLES if other != scope)):
        entries = [action for action in ACTIONS if each in action.scopes and action.id not in shown]
        if not entries:
            continue
        shown.update(action.id for action in entries)
        lines += [
            [(_TITLES[each], "bold")],
            *(_entry(action, is_private=is_private) for action in entries),
            [],
        ]
    lines += [[("Marks", "bold")], *_marks(charset), []]
    ends = "s, S, Q and r end a job, and each asks first"
    leaving = (
        f"q leaves and ends the jobs; {ends}." if is_private else f"q leaves and jobs go on; only {ends}."
    )
    lines.append([(leaving, "plain")])
    return lines


def _entry(action: Action, *, is_private: bool) -> Line:
    keys = " ".join(key_name(key) for key in action.keys)
    return [("  " + left(keys, _KEYS_WIDTH), "key"), (action.words(is_private=is_private), "plain")]


def _marks(charset: Charset) -> list[Line]:
    marks: list[tuple[str, Role, str]] = [
        (charset.active, "success", "runs and makes progress"),
        (charset.waiting, "muted", "waits for something normal, such as a timer or a client"),
        (charset.unknown, "muted", "runs; the system does not tell whether it makes progress"),
        (charset.queued, "muted", "waits for its turn"),
        (charset.paused, "accent", "paused"),
        (charset.stopping, "accent", "being stopped, or stopped"),
        (charset.succeeded, "muted", "ended well"),
        (charset.failed, "error", "failed, or ran out of time"),
        (charset.lost, "error", "ended while no daemon ran; nobody knows how"),
        (charset.bottleneck, "warning", "the stage that holds up the rest of its pipeline"),
    ]
    lines: list[Line] = [
        [("  " + left(mark, _KEYS_WIDTH, ""), role), (words, "plain")] for mark, role, words in marks
    ]
    label = stuck_label(charset)
    blank = " " * (_KEYS_WIDTH - sum(len(text) for text, _ in label))
    lines.insert(
        2, [("  ", "plain"), *label, (blank, "plain"), ("nothing moves; line 2 and w say why", "plain")]
    )
    return lines
