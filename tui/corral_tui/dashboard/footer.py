"""The last line: what can be done now, from the registry; a click on it does it."""

from __future__ import annotations

from textual import events
from textual.message import Message

from corral_tui.dashboard.actions import Action, Context, actions_of, key_name
from corral_tui.dashboard.painter import Painted, Painted_, row
from corral_tui.numbers import cells

_RIGHT = ("app.help", "app.leave")


class Footer(Painted):
    """One row of keys."""

    DEFAULT_CSS = "Footer { height: 1; }"

    class Chosen(Message):
        """A key of the footer was clicked."""

        def __init__(self, action_id: str) -> None:
            super().__init__()
            self.action_id = action_id

    def __init__(self) -> None:
        super().__init__(id="footer")
        self._spans: list[tuple[int, int, str]] = []
        self._labels: dict[str, str] = {}

    def relabel(self, action_id: str, label: str) -> None:
        """Another word for an action, such as `panels` where it says `table`."""
        self._labels[action_id] = label

    def show_keys(self, context: Context) -> None:
        """Show what is possible now, as much as fits, the most important first."""
        width = self.size.width
        ranked = [
            each for each in actions_of(context.scope) if each.rank is not None and each.id not in _RIGHT
        ]
        ranked.sort(key=lambda each: each.rank or 0)
        possible = [each for each in ranked if each.is_possible(context)]
        right = self._right_side(context, width)
        room = width - sum(cells(text) for text, _ in right)
        gap = "  " if width >= 100 else " "
        pieces: list[Painted_] = []
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
        self._place_right(room)
        self.show([row(*pieces, *right)], is_dimmed=False)

    def _word(self, each: Action) -> str:
        return self._labels.get(each.id, each.label)

    def _right_side(self, context: Context, width: int) -> list[Painted_]:
        if width >= 100:
            return [(" ?", "key"), (" help  ", "muted"), ("q", "key"), (" leave (jobs go on) ", "muted")]
        return (
            [(" ?", "key"), (" ", "plain")]
            if width < 60
            else [(" ?", "key"), (" help  ", "muted"), ("q", "key"), (" leave ", "muted")]
        )

    def _place_right(self, room: int) -> None:
        width = self.size.width
        if width < 60:
            self._spans.append((room, width, "app.help"))
            return
        self._spans += [(room, room + 9, "app.help"), (room + 9, width, "app.leave")]

    def on_click(self, event: events.Click) -> None:
        for start, end, action_id in self._spans:
            if start <= event.x < end:
                self.post_message(self.Chosen(action_id))
                return
