"""Giving the terminal to a job: `corral attach` runs as a program of its own until the user detaches."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from typing import Any, Self

from corral.model.home import Home
from corral.platform.host.python_interpreter import interpreter

LEAVING = (signal.SIGTERM, signal.SIGHUP)
_PROGRAM = "corral_tui.attach_for_dashboard"
"""Run by its name: it is the whole command line, which can start a dashboard itself."""


def hand_over(home: Home, job_id: str, *, is_leaving: Callable[[], bool]) -> str:
    """Let the user type to that job; what `corral attach` said at the end. The terminal must be as a shell has it.

    A signal that would end the dashboard ends this program first, so that the terminal is restored; the dashboard's event
    loop gets the signal as soon as it runs again. Nothing is started if it has one already.
    """
    argv = [interpreter(), "-m", _PROGRAM, "attach", job_id]
    environment = {**os.environ, "CORRAL_HOME": home.path}
    with _Signals() as signals:
        if is_leaving():
            return ""
        with subprocess.Popen(argv, env=environment, stderr=subprocess.PIPE) as program:
            signals.pass_on_to(program)
            _, said = program.communicate()
    return said.decode(errors="replace").strip().removeprefix("corral: ")


class _Signals:
    """asyncio's own handlers only run in its loop, which waits here; its wakeup descriptor remembers the signal."""

    def __init__(self) -> None:
        self._program: subprocess.Popen[bytes] | None = None
        self._last: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._take) for number in LEAVING}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def pass_on_to(self, program: subprocess.Popen[bytes]) -> None:
        """From now on, and what came before."""
        self._program = program
        if self._last is not None:
            program.send_signal(self._last)

    def _take(self, number: int, _: object) -> None:
        self._last = number
        if self._program is not None:
            self._program.send_signal(number)
