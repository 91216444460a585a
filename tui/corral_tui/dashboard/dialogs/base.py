"""What all dialogs share: a title rule, a body that scrolls when it must, buttons, and a line of keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widget import Widget

from corral.client.snapshot import Snapshot
from corral.model.errors import CorralError
from corral.model.job import Job
from corral.protocol.requests import Reply_, Request
from corral_tui.dashboard.frame.screen import Host
from corral_tui.dashboard.paint.block_widgets import Block, FocusBlock
from corral_tui.dashboard.paint.lines import Line, clean, hints, plain, rule

NARROW = 60
"""Columns below which labels are short."""
LOW = 18
"""Rows below which no line is left blank."""
ANSWERS = ("y", "n", "0", "s", "r", "x", "q", "plus", "minus", "enter")
"""The keys by which a dialog is answered. Those of `FINAL` end something."""
FINAL = ("y", "0")
SOONEST_ANSWER = 0.3
"""Seconds from a question to an answer: a letter that comes earlier was typed as part of a word."""


class ChoiceButton(FocusBlock):
    """A button with a letter: `y  stop it`. It acts on its letter, on enter where it has the focus, and on a click."""

    DEFAULT_CSS = """
    ChoiceButton { width: auto; height: 1; margin: 0 1 0 2; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "press", show=False)]

    def __init__(self, key: str, label: str, short: str, act: Callable[[], None], *, id: str) -> None:  # noqa: A002
        super().__init__(self._build_label, id=id)
        self.key = key
        self.label = label
        self.short = short
        self.act = act

    def relabel(self, label: str, short: str) -> None:
        self.label, self.short = label, short
        self.redraw()
        self.refresh(layout=True)

    def _build_label(self, width: int) -> list[Line]:
        words = self.short if self.app.size.width < NARROW else self.label
        return [[(" ", "plain"), (self.key, "key"), (f"  {words} ", "plain")]]

    def action_press(self) -> None:
        self.act()

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self.act()


class BottomDialog(Widget, can_focus=True):
    """A question, a prompt or a report that docks at the bottom over the list, in full width: a title, a body and, in place
    of the footer, a line of keys. While `is_modal`, no other key acts."""

    DEFAULT_CSS = """
    BottomDialog {
        layer: dialog; dock: bottom; layout: vertical; overflow: hidden;
        width: 100%; height: auto; max-height: 100%; background: $background;
    }
    BottomDialog > .dialog--body { height: auto; max-height: 60vh; scrollbar-size-vertical: 1; }
    BottomDialog > .dialog--choices { height: auto; width: 100%; margin: 1 0 0 0; }
    BottomDialog.-low > .dialog--choices { margin: 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", show=False),
        Binding("ctrl+c", "app.act('app.hint')", show=False),
        Binding("ctrl+z", "app.act('app.suspend')", show=False),
        Binding("down,j", "scroll_body(1)", show=False),
        Binding("up,k", "scroll_body(-1)", show=False),
        Binding("right,l,tab", "next_choice(1)", show=False),
        Binding("left,h,shift+tab", "next_choice(-1)", show=False),
        *(Binding(key, f"answer('{key}')", show=False) for key in ANSWERS),
    ]

    def __init__(self, host: Host, job_ids: Sequence[str] = ()) -> None:
        super().__init__()
        self.host = host
        self.job_ids = tuple(job_ids)
        """The jobs it is about, so that the first of them can be scrolled into view."""
        self.set_class(host.size.height < LOW, "-low")
        self.is_asking = True
        """Whether it is a question: then keys that it does not know do nothing at all."""
        self.asked_at = 0.0
        """When the question was put last, by the monotonic clock."""
        self.problem: str | None = None
        """What went wrong, in one line; shown above the keys."""

    @property
    def is_modal(self) -> bool:
        # Textual ends the chain of bindings at a modal node; it asks every node, not only screens (8.2).
        return self.is_asking

    @property
    def job(self) -> Job | None:
        """The first that it is about, as it is now."""
        return self.host.job(self.job_ids[0]) if self.job_ids else None

    def subject(self) -> str:
        """Its number and name."""
        return f"{self.job.id} {clean(self.job.title)}" if self.job else "".join(self.job_ids[:1])

    @property
    def is_narrow(self) -> bool:
        return self.host.size.width < NARROW

    # ---- what a dialog says; each overrides what it needs ----

    def title(self) -> tuple[str, str]:
        """What it is about, and a remark at the right."""
        return "", ""

    def body_lines(self, width: int) -> list[Line]:
        return []

    def keys(self) -> list[tuple[str, str]]:
        return [("esc", "leave")]

    def answers(self) -> Mapping[str, Callable[[], None]]:
        """What those of `ANSWERS` do that mean something now."""
        return {}

    def compose_choices(self) -> Sequence[ChoiceButton]:
        return ()

    def compose_body(self) -> ComposeResult:
        yield Block(self.body_lines, id="dialog-body")

    # ---- its frame ----

    def compose(self) -> ComposeResult:
        yield Block(self._head_lines, id="dialog-head")
        with VerticalScroll(classes="dialog--body", can_focus=False):
            yield from self.compose_body()
        choices = self.compose_choices()
        if choices:
            with Horizontal(classes="dialog--choices"):
                yield from choices
        yield Block(self._key_lines, id="dialog-keys")

    def on_mount(self) -> None:
        self.asked_at = monotonic()

    def _head_lines(self, width: int) -> list[Line]:
        title, remark = self.title()
        right = plain(remark, "muted") if remark else []
        return [rule(plain(title, "title"), right, width, self.host.charset.heavy_rule, "rule-selected")]

    def _key_lines(self, width: int) -> list[Line]:
        lines: list[Line] = [[(f" {self.problem}", "error")]] if self.problem else []
        return [*lines, hints(self.keys(), width)]

    def redraw(self) -> None:
        """Show what is known now."""
        for block in self.query(Block):
            block.redraw()

    def snapshot_applied(self, snapshot: Snapshot) -> None:
        """A newer snapshot is there; at most four times a second."""

    def ticked(self) -> None:
        """A second has passed."""
        self.redraw()

    def show_problem(self, problem: str | None) -> None:
        self.problem = problem
        self.redraw()

    async def ask(self, request: Request[Reply_]) -> Reply_ | None:
        """Ask the daemon; an error is shown in the dialog, and the answer is None."""
        try:
            return await self.host.source.call(request)
        except CorralError as error:
            self.show_problem(str(error))
            return None

    def end_asking(self) -> None:
        """The question is answered: from now on keys that the dialog does not know go to the list again."""
        self.is_asking = False
        self.query(".dialog--choices").remove()
        self.focus()
        self.refresh_bindings()
        self.redraw()

    def on_resize(self) -> None:
        self.set_class(self.host.size.height < LOW, "-low")
        self.redraw()

    # ---- keys ----

    def first_field(self) -> Widget | None:
        """Where what is typed goes, if it has a line to type into."""
        return next(iter(self.query("LineInput")), None) if self.takes_keys else None

    def on_focus(self) -> None:
        """Textual gives it the focus that a dialog had which was taken away: it belongs to the field."""
        field = self.first_field()
        if field is not None and self.screen.focused is self:
            self.screen.set_focus(field)

    @property
    def takes_keys(self) -> bool:
        """Whether keys may be given to it; while not, they are held."""
        return True

    def choices(self) -> list[ChoiceButton]:
        return list(self.query(ChoiceButton))

    def focus_choice(self, key: str) -> None:
        """Put the cursor on the button with that letter, once it is there."""
        self.call_after_refresh(lambda: [one.focus() for one in self.choices() if one.key == key])

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "answer":
            return parameters[0] in self.answers()
        return self.is_asking or action not in ("scroll_body", "next_choice")

    def action_answer(self, key: str) -> None:
        if key not in FINAL or not self.is_too_soon():
            self.answers()[key]()

    def is_too_soon(self) -> bool:
        """Whether a key came before the question can have been read; if so, says it."""
        if self.host.keyboard.typed_at - self.asked_at >= SOONEST_ANSWER:
            return False
        self.show_problem("that key came too soon to be an answer; press it again")
        return True

    def action_next_choice(self, step: int) -> None:
        choices = self.choices()
        if choices:
            focused = next((number for number, one in enumerate(choices) if one.has_focus), 0)
            choices[(focused + step) % len(choices)].focus()

    def action_scroll_body(self, step: int) -> None:
        for body in self.query(".dialog--body"):
            body.scroll_relative(y=step, animate=False)

    def action_leave(self) -> None:
        self.leave()

    def leave(self) -> None:
        """Close it, changing nothing."""
        if self.host.dialog is self:
            self.host.close_dialog()


def sentence(text: str) -> list[Line]:
    """One line of plain text behind the dialog's margin."""
    return [plain(" " + text)]
