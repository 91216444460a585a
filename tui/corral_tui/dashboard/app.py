"""The dashboard's app. It only wires: a source of snapshots, screens that show them, keys that act."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from rich.console import RenderableType
from textual import events
from textual.app import App
from textual.binding import Binding, BindingType
from textual.filter import Monochrome
from textual.screen import ModalScreen, Screen
from textual.widget import Widget

from corral.client.snapshot import Snapshot
from corral.client.source import Source
from corral.model.errors import CorralError
from corral.model.job import Job
from corral.protocol.requests import WatchJobs
from corral_tui.blocked_terminal import LastResort
from corral_tui.dashboard.board.screen import BoardScreen
from corral_tui.dashboard.dialogs.base import BottomDialog
from corral_tui.dashboard.frame.actions import ACTIONS, Action, Scope, action
from corral_tui.dashboard.frame.changed_cells import smaller
from corral_tui.dashboard.frame.clock import SettledTimes, steady_clock
from corral_tui.dashboard.frame.driver import DashboardDriver
from corral_tui.dashboard.frame.keyboard import Keyboard, KeyTaken
from corral_tui.dashboard.frame.screen import DashboardScreen
from corral_tui.dashboard.frame.themes import DARK, THEMES, WithoutColours
from corral_tui.dashboard.notifications import Notifications
from corral_tui.lazy import load
from corral_tui.settings.dashboard import Settings
from corral_tui.text.charset import Charset, charset_of_terminal

if TYPE_CHECKING:  # loaded once they are wanted: the first paint waits for neither
    from corral_tui.dashboard.action_handlers import ActionHandlers
    from corral_tui.dashboard.job.screen import JobScreen

SNAPSHOT_INTERVAL = 0.25
"""Seconds between two snapshots at least; the board shows values once a second."""
LOOK_DELAY = 0.3
"""Seconds after which the daemon is told that other jobs are on the screen."""
LEAVING_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)

ActionCallback = Callable[[str, tuple[str, ...]], None]


class DashboardApp(App[int], inherit_bindings=False):
    """The dashboard of one daemon."""

    TITLE = "corral"
    CSS = """
    Screen { layers: default dialog; }
    CommandPalette > Vertical { margin-top: 1; min-width: 20; }
    CommandPalette CommandList { min-height: 2; min-width: 20; }
    CommandPalette SearchIcon { display: none; }
    """
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(key, f"press('{key}')", show=False)
        for key in dict.fromkeys(key for each in ACTIONS for key in each.keys)
    ]

    def __init__(
        self,
        source: Source,
        *,
        settings: Settings | None = None,
        charset: Charset | None = None,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        super().__init__(driver_class=DashboardDriver)
        self.no_color = bool(os.environ.get("NO_COLOR"))
        self._filters = [each for each in self._filters if not isinstance(each, Monochrome)]
        if self.no_color:
            self._filters.append(WithoutColours())
        self.source = source
        self.clock = clock or steady_clock()
        self._times = SettledTimes(self.clock)
        self._given = source.snapshot
        self.snapshot: Snapshot = self._times.settle(self._given)
        self.settings = settings or Settings()
        self.charset = charset or charset_of_terminal()
        self.dialog: Widget | None = None
        self.leaving_by: int | None = None
        """The signal that ends this program."""
        self.last_resort = LastResort(self._restore_terminal)
        self._strip: str | None = None
        self._listeners: list[ActionCallback] = []
        self._looked_at: tuple[str, ...] = ()
        self._wanted: tuple[str, ...] = ()
        self._is_look_due = False
        self.notices = Notifications(self, self._write_to_terminal)
        self.keyboard = Keyboard(self, super().on_event)
        self._is_dialog_settled = True
        self._take_theme()

    @property
    def is_ready(self) -> bool:
        """Whether a first snapshot has come."""
        return self.snapshot.rev > 0 or bool(self.snapshot.jobs) or self.snapshot.machine is not None

    @property
    def strip(self) -> str | None:
        """A line above the footer, such as the demo's `Try it, 1 of 5: …`."""
        return self._strip

    @strip.setter
    def strip(self, content: str | None) -> None:
        self._strip = content
        for screen in self._dashboard_screens():
            screen.strip_changed()

    def get_default_screen(self) -> BoardScreen:
        return BoardScreen(self)

    # ---- what dialogs and screens use ----

    def say(self, text: str) -> None:
        """Tell the user, in line 2 of the screen that is up, what happened or why not."""
        if isinstance(self.screen, DashboardScreen):
            self.screen.show_said(text)

    def look(self, job_ids: Iterable[str]) -> None:
        """These jobs are on the screen now: have them sampled every second."""
        self._wanted = tuple(sorted(job_ids))
        if self._wanted != self._looked_at and not self._is_look_due:
            self._is_look_due = True
            self.set_timer(LOOK_DELAY, self._send_look)

    @cached_property
    def _handlers(self) -> ActionHandlers:
        handlers: type[ActionHandlers] = load("corral_tui.dashboard.action_handlers:ActionHandlers")
        return handlers(self)

    def open_job(self, job_id: str, pane: str | None = None) -> None:
        """Open one job on a screen of its own."""
        screen: type[JobScreen] = load("corral_tui.dashboard.job.screen:JobScreen")
        self.push_screen(screen(self, job_id, pane))

    def show_dialog(self, dialog: Widget) -> None:
        """Dock `dialog` at the bottom of the current screen, over the list, in place of the one that is up."""
        self.close_dialog()
        self.dialog = dialog
        self._is_dialog_settled = False
        dialog.styles.layer = "dialog"
        dialog.styles.dock = "bottom"
        self.screen.mount(dialog)
        dialog.call_after_refresh(self._settle_dialog, dialog)

    def close_dialog(self) -> None:
        """Take the dialog away and give the focus back to the list."""
        dialog, self.dialog = self.dialog, None
        if dialog is None:
            return
        dialog.remove()
        if isinstance(self.screen, DashboardScreen):
            self.screen.reveal((), 0)

    def on_action(self, callback: ActionCallback) -> None:
        """Call `callback(action_id, job_ids)` after each thing that the user did, such as `("job.stop", ("4",))`."""
        self._listeners.append(callback)

    def did(self, action_id: str, job_ids: tuple[str, ...] = ()) -> None:
        """Tell the listeners that it was done, not only asked for."""
        for listener in self._listeners:
            listener(action_id, job_ids)

    def select_job(self, job_id: str) -> None:
        """Select a job on every screen with a list, now or as soon as a snapshot holds it."""
        for screen in self._dashboard_screens():
            screen.select_job(job_id)

    def choose_theme(self, name: str) -> None:
        """Colours of another theme, from now on and the next time."""
        self.theme = name
        problem = self.settings.keep_theme(name)
        if problem:
            self.say(problem)

    def job(self, job_id: str) -> Job | None:
        return self.snapshot.jobs.get(job_id)

    def unseen(self) -> list[Job]:
        """The jobs that need the user, without those that were looked at since they ended."""
        board = self._board
        return [] if board is None else board.model.urgent()

    def next_urgent(self, after: str) -> Job | None:
        """Select the next job that needs a human, seen from this one."""
        board = self._board
        if board is None:
            return None
        board.model.select(after)
        return board.model.next_urgent()

    @property
    def _board(self) -> BoardScreen | None:
        board = self.screen_stack[0] if self.screen_stack else None
        return board if isinstance(board, BoardScreen) and board.is_mounted else None

    def _settle_dialog(self, dialog: Widget) -> None:
        if dialog is self.dialog and isinstance(self.screen, DashboardScreen):
            ids = dialog.job_ids if isinstance(dialog, BottomDialog) else ()
            self.screen.reveal(ids, dialog.outer_size.height)
        self.call_later(self._give_keys_to, dialog)

    def _give_keys_to(self, dialog: Widget) -> None:
        """Runs after the dialog's own request to focus one of its fields."""
        if dialog is self.dialog:
            if dialog.can_focus and not dialog.has_focus_within:
                self.screen.set_focus(dialog)
            self._is_dialog_settled = True

    def _dashboard_screens(self) -> list[DashboardScreen]:
        # A screen is on the stack before it is mounted; it takes the snapshot of that moment then.
        return [
            screen
            for screen in self.screen_stack
            if isinstance(screen, DashboardScreen) and screen.is_mounted
        ]

    # ---- life ----

    def take_signals(self) -> None:
        """From now on what ends a terminal program ends this one, gives the terminal back, and ends no job."""
        # Not in a thread that may not have handlers.
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop = asyncio.get_running_loop()
            for number in LEAVING_SIGNALS:
                loop.add_signal_handler(number, self._leave_by_signal, number)
                # Known at once, and not only when the loop comes to it: a key before it in the queue may take long.
                signal.signal(number, self._note_signal)

    def on_mount(self) -> None:
        self.set_interval(1.0, self._tick)
        self.run_worker(self._follow(), group="snapshots")
        self.app_suspend_signal.subscribe(self, lambda _: self.notices.suspended(), immediate=True)
        self.app_resume_signal.subscribe(self, lambda _: self.notices.resumed(), immediate=True)
        self.app_resume_signal.subscribe(self, lambda _: self.repaint())
        self.call_after_refresh(self.notices.refresh_title)

    def on_unmount(self) -> None:
        self.notices.leave()

    def repaint(self) -> None:
        """Paint all of it: after ctrl+z or an editor, or where something was skipped, the terminal shows something else
        than Textual thinks, which paints only what has changed."""
        if self.screen_stack:
            self.screen.refresh(layout=True)

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        if not (isinstance(self._driver, DashboardDriver) and self._driver.skips()):
            super()._display(screen, smaller(renderable))

    def terminal_gone(self) -> None:
        """The terminal is gone: do as for SIGHUP, which comes only if it is our controlling terminal."""
        self._leave_by_signal(signal.SIGHUP)

    def _write_to_terminal(self, text: str) -> None:
        """Through Textual's writer, so that no sequence is split by another one."""
        if self._driver is not None and not self.is_headless:
            self._driver.write(text)

    def _restore_terminal(self) -> None:
        if isinstance(self._driver, DashboardDriver):
            self._driver.restore()

    def _take_theme(self) -> None:
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = DARK.name
        wanted = self.settings.theme
        if wanted is None:
            return
        if wanted in self.available_themes:
            self.theme = wanted
        else:
            self.settings.notice = self.settings.notice or f"settings: there is no theme {wanted!r}"

    def _note_signal(self, number: int, _: object = None) -> None:
        self.leaving_by = number
        self.last_resort.arm(128 + number)

    def _leave_by_signal(self, number: int) -> None:
        self._note_signal(number)
        self.exit(128 + number, return_code=128 + number)

    async def _follow(self) -> None:
        while True:
            self._apply(await self.source.changed())
            await asyncio.sleep(SNAPSHOT_INTERVAL)
            self._apply(self.source.snapshot)

    def _apply(self, snapshot: Snapshot) -> None:
        if snapshot is self._given:
            return
        self._given, snapshot = snapshot, self._times.settle(snapshot)
        if self.snapshot.trouble and not snapshot.trouble:
            self._looked_at = ()  # the new daemon has not been told
        before, self.snapshot = self.snapshot, snapshot
        for screen in self._dashboard_screens():
            screen.snapshot_applied(snapshot)
        self.notices.follow(before, snapshot)
        if isinstance(self.dialog, BottomDialog):
            self.dialog.snapshot_applied(snapshot)

    def _tick(self) -> None:
        stack = self.screen_stack
        if not stack:
            return  # while the app closes, its screens are gone before its timers
        now, top = self.clock(), stack[-1]
        for screen in self._dashboard_screens():
            # Under the palette or the help the list stays visible and is updated; under an opened job it is hidden.
            if screen is top or not isinstance(top, DashboardScreen):
                screen.ticked(now)
        if isinstance(self.dialog, BottomDialog):
            self.dialog.ticked()
        self.notices.refresh_title()

    async def _send_look(self) -> None:
        self._is_look_due = False
        if self._wanted == self._looked_at or self.snapshot.trouble:
            return
        wanted = self._looked_at = self._wanted
        try:
            await self.source.call(WatchJobs(ids=wanted))
        except CorralError:
            self._looked_at = ()  # the daemon went away; the next one is asked when the list is drawn again

    # ---- keys ----

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Key | events.Paste) and not event.is_forwarded:
            await self.keyboard.take(event)
        else:
            await super().on_event(event)

    def on_key_taken(self, message: KeyTaken) -> None:
        self.keyboard.key_taken(message.key)

    def on_paste(self) -> None:
        """No widget handled it."""
        self.say("nothing here takes pasted text; n opens the prompt, / a filter")

    @property
    def takes_only_escape(self) -> bool:
        """Whether a dialog is busy with what the last key asked of it."""
        return isinstance(self.dialog, BottomDialog) and not self.dialog.takes_keys

    @property
    def takes_keys(self) -> bool:
        """Whether what was opened last is there: a dialog, a screen, the field of a palette."""
        screen = self.screen if self.screen_stack else None
        if screen is None or not screen.is_mounted:
            return False
        if self.dialog is not None and isinstance(screen, DashboardScreen):
            dialog = screen.focused
            is_on_its_way = isinstance(dialog, BottomDialog) and dialog.first_field() is not None
            return self._is_dialog_settled and not self.takes_only_escape and not is_on_its_way
        return not isinstance(screen, ModalScreen) or screen.focused is not None or not self.app_focus

    @property
    def scope(self) -> Scope | None:
        return self.screen.scope if isinstance(self.screen, DashboardScreen) else None

    def action_press(self, key: str) -> None:
        """Do what `key` does on the screen that is up: of several things the first that is possible now."""
        self.notices.touched()
        if not isinstance(self.screen, DashboardScreen):
            return
        context = self.screen.context()
        meant = [each for each in ACTIONS if key in each.keys and self.scope in each.scopes]
        for each in [one for one in meant if one.is_possible(context)] or meant:
            self.perform(each)
            return

    def action_act(self, action_id: str) -> None:
        """Do the action of that id."""
        self.perform(action(action_id))

    def perform(self, chosen: Action) -> None:
        """Do an action, or say why it cannot be done now. Under a dialog only the list can be moved."""
        screen = self.screen
        if not isinstance(screen, DashboardScreen):
            return
        if self.dialog is not None and not chosen.is_kept_under_dialog:
            return
        context = screen.context()
        refused = chosen.refusal(context)
        if refused:
            self.say(refused)
        elif not screen.do(chosen.id):
            self._handlers.do(chosen.id, context)
