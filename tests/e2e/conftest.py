"""The real command with a daemon of the test's own, ended with its jobs when the test is over."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.command import Corral
from e2e.daemons import Daemons
from until import until


@pytest.fixture
def corral(tmp_path: Path) -> Iterator[Corral]:
    """The command. At the end its daemon and jobs are ended; a process that is left fails the test."""
    with _ending(tmp_path) as command:
        yield command


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Corral]:
    """The same for all tests of a file that name each job by the id that it was given."""
    with _ending(tmp_path_factory.mktemp("shared")) as command:
        yield command


@pytest.fixture
def served(shared: Corral) -> Iterator[Corral]:
    """The same, with nothing running in it but what the test starts."""
    yield shared
    shared("stop", "--all", "--grace", "0s")


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[Daemons]:
    """A home of the test's own, for its daemons one after the other; none runs yet."""
    made = Daemons(tmp_path / "home")
    yield made
    made.end()


@contextlib.contextmanager
def _ending(folder: Path) -> Iterator[Corral]:
    directory = folder / "work"
    directory.mkdir()
    command = Corral(folder / "home", directory)
    yield command
    if command.processes():  # Many tests need no daemon, and no program more to find none.
        command("daemon", "stop", "--jobs", "stop")
    try:
        until(lambda: not command.processes(), "every process of the test's home to be gone", seconds=10)
    finally:
        for pid in command.processes():
            os.kill(pid, signal.SIGKILL)
