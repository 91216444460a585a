"""A file system that a test freezes and thaws, mounted below its own folder and gone afterwards, whatever happened."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from until import ZOO

_DETACHED = 2
"""MNT_DETACH (umount2(2))."""


class FileSystem:
    """Of a few files: `f`, the programs `true` and `script`, a `folder`. What is made in it stays in memory."""

    def __init__(self, path: Path, process: subprocess.Popen[bytes]) -> None:
        self.path = path
        self._process = process

    def freeze(self) -> None:
        """From now on nothing is answered."""
        self._tell(b"freeze\n")

    def thaw(self) -> None:
        """All that was asked meanwhile is answered, and all that comes."""
        self._tell(b"thaw\n")

    def _tell(self, line: bytes) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line)
        self._process.stdin.flush()
        assert self._process.stdout.readline() == b"done\n"


@contextlib.contextmanager
def file_system(path: Path) -> Iterator[FileSystem]:
    """Mounted on `path`, which is made. Skips where this user may not mount one."""
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        pytest.skip("only root can mount a file system here, with /dev/fuse")
    path.mkdir()
    argv = [sys.executable, "-S", "-E", os.path.join(ZOO, "file_system.py"), str(path)]
    # In a session of its own: it ends, and unmounts, by the end of its stdin also where all of ours are killed.
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline() != b"ready\n":
                pytest.skip("no file system can be mounted in this container")
            yield FileSystem(path, process)
        finally:
            ctypes.CDLL(None).umount2(os.fsencode(path), _DETACHED)
            # Its end closes /dev/fuse, and whoever waits for an answer gets an error.
            process.kill()
