"""Dropping the head of an output file as the daemon does it: noted first, then punched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corral.model.home import dropped_note
from corral.platform.files import hole_punching


def punch(path: Path, size: int) -> None:
    """Make the hole, without a note. Skips the test where the file system cannot."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        hole_punching.punch(descriptor, 0, size)
    except OSError as error:
        pytest.skip(f"no holes here: {error}")
    finally:
        os.close(descriptor)


def drop(path: Path, size: int) -> None:
    """Drop the first `size` bytes."""
    with open(dropped_note(os.fspath(path)), "ab") as note:
        note.truncate(size)
    punch(path, size)


def on_disk(path: Path) -> int:
    """Bytes that a file takes."""
    return os.stat(path).st_blocks * 512
