"""The last line: what can be done now, from the registry; a click on it does it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual import events

from corral_tui.dashboard.frame.actions import Action, Context, actions_of, key_name
from corral_tui.dashboard.paint.lines import Span, width_of
from corral_tui.dashboard.paint.row_widget import Painted, Row
from corral_tui.text.numbers import cells, cut_end

_RIGHT = {"opened": ("app.help", "app.back")}
_USUAL_RIGHT = ("app.help", "app.leave")
"""Stand at the right edge."""
LEAST_HEIGHT_FOR_STRIP = 8


class StripLine(Painted):
    """A line above the footer, such as the demo's; none where there is nothing to say or no room."""

    DEFAULT_CSS = "StripLine { height: 1; display: none; } StripLine.-on { display: block; }"

    def put(self, strip: str | None, ellipsis: str) -> None:
        self.set_class(strip is not None and self.screen.size.height >= LEAST_HEIGHT_FOR_STRIP, "-on")
        if strip is not None:
            words = cut_end(" " + strip, self.screen.size.width, ellipsis)
            self.show([Row(((words, "accent"),))])


class Footer(Painted):
    """One row of keys. A click on one does its action by `act`."""

    DEFAULT_CSS = "Footer { height: 1; }"

    def __init__(self, act: Callable[[str], None]) -> None:
        super().__init__(id="footer")
        self._act = act
        self._spans: list[tuple[int, int, str]] = []
        self._labels: dict[str, str] = {}
        self._right = _USUAL_RIGHT

    def relabel(self, action_id: str, label: str) -> None:
        """Another word for an action, such as `panels` where it says `table`."""
        self._labels[action_id] = label

    def show_keys(
        self,
        context: Context,
        only: Sequence[str] | None = None,
        first: Sequence[str] = (),
        *,
        is_private: bool,
    ) -> None:
        """Show what is possible now, as much as fits, the most important first; or `only` some, in that order.

        `first` are the keys of what one looks at just now. On leaving, the jobs of a private daemon end.
        """
        width = self.size.width
        self._right = _RIGHT.get(context.scope, _USUAL_RIGHT)
        possible = self._ranked(context, only, first)
        right = self._right_side(width, is_private=is_private)
        room = width - width_of(right)
        gap = "  "
        pieces: list[Span] = []
        self._spans = []
        x = 0
        for each in possible:
            text = f"{gap if x else ' '}{key_name(each.keys[0])}"
            word = f" {self._word(each)}"
            if x + cells(text) + cells(word) > room:
                break
            pieces += [(text, "key"), (word, "muted")]
            self._spans.append((x, x + cells(text) + cells(word), each.id))
            x += cells(text) + cells(word)
        pieces.append((" " * max(room - x, 0), "plain"))
        self._place_right(right, room)
        self.show([Row((*pieces, *right))])

    def _ranked(self, context: Context, only: Sequence[str] | None, first: Sequence[str]) -> list[Action]:
        actions = {each.id: each for each in actions_of(context.scope) if each.id not in self._right}
        if only is None:
            usual = [each for each in actions.values() if each.rank is not None and each.id not in first]
            only = [*first, *(each.id for each in sorted(usual, key=lambda each: each.rank or 0))]
        return [actions[each] for each in only if each in actions and actions[each].is_possible(context)]

    def _word(self, each: Action) -> str:
        return self._labels.get(each.id, each.label)

    def _right_side(self, width: int, *, is_private: bool) -> list[Span]:
        """Help and leaving: always there but where it is very narrow."""
        if width < 60:
            return [(" ?", "key"), (" ", "plain")]
        if width < 100:
            help_word, leave_word = "", " leave "
        else:
            help_word, leave_word = (
                " help",
                f" leave ({'ends the jobs' if is_private else 'jobs go on'}) ",
            )
        key, word = ("q", leave_word) if self._right == _USUAL_RIGHT else ("esc", " back ")
        return [(" ?", "key"), (help_word, "muted"), (f"  {key}", "key"), (word, "muted")]

    def _place_right(self, right: list[Span], room: int) -> None:
        middle = room + width_of(right[:2])
        self._spans.append((room, middle, "app.help"))
        if len(right) > 2:
            self._spans.append((middle, self.size.width, self._right[1]))

    def on_click(self, event: events.Click) -> None:
        for start, end, action_id in self._spans:
            if start <= event.x < end:
                self._act(action_id)
                return
