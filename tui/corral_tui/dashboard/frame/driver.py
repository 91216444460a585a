"""Textual's driver, for a terminal that may have no size, stop reading, or go away at any moment."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable
from typing import Protocol, cast

from textual.app import App
from textual.drivers.linux_driver import LinuxDriver
from textual.events import Resize
from textual.message import Message

from corral.platform.files.pty import size_of
from corral_tui.blocked_terminal import LastResort, silence_terminal
from corral_tui.dashboard.frame.terminal_writer import TerminalWriter

PATIENCE, LAST_PATIENCE = 5.0, 0.5
"""Seconds for which a terminal that is being left may take nothing, before it is given up; and where we have to end."""
MOST_COLUMNS, MOST_ROWS = 1000, 500
"""More than any screen shows; a terminal may claim 65,535 of each."""


class DriverHost(Protocol):
    """What the driver asks of the app whose terminal it has."""

    @property
    def last_resort(self) -> LastResort: ...
    def terminal_gone(self) -> None: ...
    def repaint(self) -> None: ...


class DashboardDriver(LinuxDriver):
    """Waits for the terminal only where it is left, and there only as long as the terminal takes something."""

    def __init__(
        self, app: App[int], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        self._size = self._size or self._get_terminal_size()  # else the app asks rich, which assumes 25 rows
        self._user = cast("DriverHost", app)
        assert sys.__stdout__ is not None
        self._terminal = sys.__stdout__  # Textual's stderr may be a file; stdout is a terminal here
        self._has_screen = self._is_suspended = False
        self._outflow = TerminalWriter(
            self._terminal.fileno(), self.fileno, on_gone=self._gone, on_caught_up=self._caught_up
        )

    def write(self, data: str) -> None:
        encoded = data.encode(self._terminal.encoding, self._terminal.errors or "replace")
        self._outflow.put(encoded)

    def skips(self) -> bool:
        """Whether a frame is left out, because the terminal does not keep up. Everything is repainted once it does."""
        return self._outflow.skips()

    def start_application_mode(self) -> None:
        super().start_application_mode()  # type: ignore[no-untyped-call]
        super().close()  # Textual's own writer: nothing goes through it
        self._has_screen, self._is_suspended = True, False

    def stop_application_mode(self) -> None:
        self._has_screen = False
        super().stop_application_mode()

    def suspend_application_mode(self) -> None:
        if self._has_screen:
            self.stop_application_mode()
            self._outflow.settle(PATIENCE)
            self._is_suspended = True

    def _sigcont_application(self, *_: object) -> None:
        # It also comes where nothing was stopped, as with the SIGHUP of a terminal that goes (tty_io.c), and then Textual
        # would start a second thread for the keys, which nobody ends; and after a SIGSTOP, which gave us no time to leave.
        if self._auto_restart:
            self.suspend_application_mode()
        if self._is_suspended:
            super()._sigcont_application()

    def close(self) -> None:
        """All output is written, or the terminal has stopped reading: then nothing printed later may block either."""
        if not self._outflow.settle(PATIENCE):
            silence_terminal()

    def restore(self) -> None:
        """Restore the terminal where the app could not. From any thread."""
        if self._has_screen:
            self._disable_mouse_support()
            self.stop_application_mode()
            self._outflow.settle(LAST_PATIENCE)

    def run_input_thread(self) -> None:
        try:
            super().run_input_thread()
        except OSError:  # EIO: it was hung up, or will never be in our foreground again (the shell has gone)
            self._gone()

    def process_message(self, message: Message) -> None:
        if isinstance(message, Resize):
            columns, rows = _sane(message.size)
            message = Resize.from_dimensions((columns, rows), message.pixel_size)
        super().process_message(message)

    def _get_terminal_size(self) -> tuple[int, int]:
        # Not COLUMNS and LINES, which Textual asks first: whoever exported them once could never change the size again.
        try:
            return _sane(size_of(self.fileno))
        except OSError:
            return _sane((0, 0))

    def _gone(self) -> None:
        self._call(self._user.terminal_gone)
        self._user.last_resort.arm(128 + signal.SIGHUP)

    def _caught_up(self) -> None:
        self._call(self._user.repaint)

    def _call(self, callback: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and the app with it
            self._loop.call_soon_threadsafe(callback)


def _sane(size: tuple[int, int]) -> tuple[int, int]:
    columns, rows = size
    return min(columns or 80, MOST_COLUMNS), min(rows or 24, MOST_ROWS)
