"""What the app asks of its screens and dialogs: the seam between the board, the opened job and the dialogs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import ClassVar, Protocol

from textual.geometry import Size
from textual.screen import Screen
from textual.widget import Widget

from corral.client.snapshot import Snapshot
from corral.client.source import Source
from corral.model.job import Job
from corral_tui.dashboard.frame.actions import Context, Scope
from corral_tui.dashboard.frame.keyboard import Keyboard
from corral_tui.settings.dashboard import Settings
from corral_tui.text.charset import Charset


class Host(Protocol):
    """What everything that is shown may ask of the dashboard: what is known, a line to say something in, other things to be
    shown, and the keys that were typed."""

    @property
    def source(self) -> Source: ...
    @property
    def snapshot(self) -> Snapshot: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def charset(self) -> Charset: ...
    @property
    def clock(self) -> Callable[[], datetime]: ...
    @property
    def size(self) -> Size: ...
    @property
    def is_ready(self) -> bool: ...
    @property
    def strip(self) -> str | None: ...
    @property
    def keyboard(self) -> Keyboard: ...
    @property
    def dialog(self) -> Widget | None: ...
    def job(self, job_id: str) -> Job | None: ...
    def unseen(self) -> list[Job]: ...
    def next_urgent(self, after: str) -> Job | None: ...
    def say(self, text: str) -> None: ...
    def look(self, job_ids: Iterable[str]) -> None: ...
    def show_dialog(self, dialog: Widget) -> None: ...
    def close_dialog(self) -> None: ...
    def open_job(self, job_id: str, pane: str | None = None) -> None: ...
    def select_job(self, job_id: str) -> None: ...
    def did(self, action_id: str, job_ids: tuple[str, ...] = ()) -> None: ...
    def action_act(self, action_id: str) -> None: ...
    def choose_theme(self, name: str) -> None: ...


class OfOneSize(Screen[None]):
    """A screen that is only ever laid out for the size that the terminal has now.

    In Textual each layout for another size sends the screen that size once more. With two of them on their way at once
    (a slow screen while a window is dragged, or where Textual and rich assume different sizes) that never ends.
    """

    def _screen_resized(self, size: Size) -> None:
        if size == self.app.size:
            super()._screen_resized(size)


class DashboardScreen(OfOneSize):
    """A screen of the dashboard: it gets snapshots and ticks, and says what is selected in it."""

    scope: ClassVar[Scope] = "board"

    def __init__(self, host: Host) -> None:
        super().__init__()
        self.host = host

    @property
    def job(self) -> Job | None:
        """The job that a key acts on, as it is now."""
        return None

    def context(self) -> Context:
        return Context(self.host.snapshot, self.job, self.scope)

    def do(self, action_id: str) -> bool:
        """Do what only this screen can do; False if the app should."""
        return False

    def snapshot_applied(self, snapshot: Snapshot) -> None:
        """A newer snapshot is there; at most four times a second."""

    def ticked(self, now: datetime) -> None:
        """A second has passed."""

    def show_said(self, text: str) -> None:
        """Show what just happened, in one line."""

    def select_job(self, job_id: str) -> None:
        """Select this job and scroll it into view, now or as soon as a snapshot holds it."""

    def strip_changed(self) -> None:
        """`app.strip` holds another line."""

    def reveal(self, job_ids: tuple[str, ...], covered: int) -> None:
        """Scroll so that the first of these jobs stands above the `covered` rows at the bottom."""
