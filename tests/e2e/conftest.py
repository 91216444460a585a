"""The real command with a daemon of the test's own, ended with its jobs when the test is over."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.command import Corral
from until import until


@pytest.fixture
def corral(tmp_path: Path) -> Iterator[Corral]:
    """The command. At the end its daemon and jobs are ended; a process that is left fails the test."""
    directory = tmp_path / "work"
    directory.mkdir()
    command = Corral(tmp_path / "home", directory)
    yield command
    if command.processes():  # Many tests need no daemon, and no program more to find none.
        command("daemon", "stop", "--jobs", "stop")
    try:
        until(lambda: not command.processes(), "every process of the test's home to be gone", seconds=10)
    finally:
        for pid in command.processes():
            os.kill(pid, signal.SIGKILL)
