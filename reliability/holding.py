"""Jobs whose every process holds one lock: a proof of what is left that knows nothing of Corral's marks."""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

ZOO = Path(__file__).resolve().parent.parent / "tests" / "zoo"


def zoo_argv(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-S", "-E", str(ZOO / f"{name}.py"), *arguments]


class Token:
    """A file that all processes of a job keep open and locked (flock(2)), wherever they go."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def held_by(self, argv: list[str]) -> list[str]:
        """The argv of the same program with the token in hand."""
        return zoo_argv("holds_lock", str(self.path), *argv)

    def is_held(self) -> bool:
        """Whether any process has it: the kernel's word, at one moment for all of them."""
        with self.path.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def holders(self) -> list[int]:
        """The pids of those who have it, as far as /proc shows."""
        wanted = str(self.path)
        return [int(entry) for entry in os.listdir("/proc") if entry.isdecimal() and _has_open(entry, wanted)]


def _has_open(pid: str, path: str) -> bool:
    # The files of a process whose first thread has ended stand with its other threads only.
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return False
    return any(_thread_has_open(pid, thread, path) for thread in threads)


def _thread_has_open(pid: str, thread: str, path: str) -> bool:
    folder = f"/proc/{pid}/task/{thread}/fd"
    try:
        return any(os.readlink(f"{folder}/{number}") == path for number in os.listdir(folder))
    except OSError:
        # Ended meanwhile.
        return False
