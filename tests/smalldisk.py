"""A file system of a few MB that a test may fill. It takes root to mount one."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def small_disk(path: Path, size: int) -> Iterator[Path]:
    """A tmpfs of so many bytes at `path`, gone with all in it when the block ends. Skips the test where there can be none."""
    path.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", os.fspath(path)]
    if os.geteuid() or subprocess.run(argv, capture_output=True, check=False).returncode:
        pytest.skip("it takes root, and leave to mount, to make a small file system")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", os.fspath(path)], check=True)


def fill(path: Path) -> None:
    """Take every byte that is left."""
    with open(path, "ab", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            with contextlib.suppress(OSError):  # ENOSPC: less than that is left
                while True:
                    file.write(b"x" * size)
