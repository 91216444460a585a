"""One key at a time: each goes to what the previous one opened, once that can take it.

A key goes from the widget that has the focus up to the app, message by message. What is typed in between would go to the
widget that still has the focus, though the previous key opens a field: letters of a word would act as commands, or be
lost. So the next key waits until the previous one is handled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any, Protocol

from textual import events
from textual.message import Message
from textual.screen import Screen
from textual.timer import Timer
from textual.widget import Widget

HOLD_SECONDS = 10.0
"""The longest that a key waits for a widget that takes it."""
LOOK_SECONDS = 0.01
"""Between two checks for such a widget."""

Typed = events.Key | events.Paste


class KeyboardHost(Protocol):
    """The app that gets the keys: what has the focus in it, and whether that can take one."""

    @property
    def focused(self) -> Widget | None: ...
    @property
    def screen(self) -> Screen[Any]: ...
    @property
    def takes_keys(self) -> bool: ...
    @property
    def takes_only_escape(self) -> bool: ...
    def say(self, text: str) -> None: ...
    def call_later(self, callback: Callable[..., Awaitable[None]], *args: Any) -> object: ...
    def set_timer(self, delay: float, callback: Callable[[], Awaitable[None]]) -> Timer: ...


@dataclass
class KeyTaken(Message):
    """Follows a key along the same path: when the app gets this, the key has been handled."""

    key: Typed


class Keyboard:
    """Queues what is typed and passes it to `give` one by one."""

    def __init__(self, app: KeyboardHost, give: Callable[[Typed], Awaitable[None]]) -> None:
        self._app = app
        self._give = give
        self._held: deque[tuple[Typed, float]] = deque()
        self.typed_at = 0.0
        """When the key that was given last was typed, by the monotonic clock."""
        self._given: Typed | None = None
        self._target: Widget | None = None
        """The widget that has the last key, until it is handled."""
        self._since = 0.0
        """When a key was last given, or started to wait."""
        self._timer: Timer | None = None

    @property
    def is_idle(self) -> bool:
        """Whether everything typed has been handled."""
        return not self._held and self._target is None

    async def take(self, event: Typed) -> None:
        """Handle something typed or pasted."""
        if self.is_idle:
            self._since = monotonic()
        if isinstance(event, events.Key) and event.key == "escape" and self._app.takes_only_escape:
            self.drop()
            self._given = self._target = None
            await self._give(event)
            return
        self._held.append((event, monotonic()))
        await self._go_on()

    def drop(self) -> None:
        """Drop the queued keys: what they were typed for does not appear."""
        self._held.clear()

    def key_taken(self, key: Typed) -> None:
        # After what the key requested, such as the focus for another widget.
        self._app.call_later(self._next, key)

    async def _next(self, key: Typed) -> None:
        if key is not self._given:
            return  # its widget was removed, and the next one given since
        self._target = None
        self._since = monotonic()
        await self._go_on()

    async def _go_on(self) -> None:
        while self._held and self._may_give():
            target = self._target = self._app.focused or self._app.screen
            self._since = monotonic()
            key, self.typed_at = self._held.popleft()
            self._given = key
            await self._give(key)
            target.post_message(KeyTaken(key))
        if self._held and self._timer is None:
            self._timer = self._app.set_timer(LOOK_SECONDS, self._look)

    async def _look(self) -> None:
        self._timer = None
        await self._go_on()

    def _may_give(self) -> bool:
        # A widget that has been removed passes nothing on.
        if self._target is not None and self._target.is_attached and self._target.is_running:
            return False
        if self._app.takes_keys:
            return True
        if monotonic() - self._since > HOLD_SECONDS:
            self._app.say(
                f"ignored {len(self._held)} keys that were typed ahead: nothing opened to take them"
            )
            self.drop()
        return False
