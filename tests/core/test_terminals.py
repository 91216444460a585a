"""A job's terminal on the daemon's side, and what is known of its modes."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from corral.measure.history import History
from corral.output.terminal_modes import TerminalModes, entering, leaving
from corral.platform.files.pty import open_terminal, read_some, set_size, size_of
from corral.runner.terminals import HandedTerminal, JobTerminal
from managers import eventually


class Journal:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def record(self, job: int, at: object, kind: str, text: str) -> None:
        assert (job, kind) == (1, "terminal")
        self.texts.append(text)


def on(sink: int) -> tuple[JobTerminal, int, Journal]:
    """A terminal that writes to `sink`, a descriptor of the job's side, and what is noted of it."""
    master, inner = open_terminal(80, 24)
    journal: Any = Journal()
    printed = os.dup(inner)
    job: Any = SimpleNamespace(id=1, is_full_screen=False, terminal_size=None, history=History())
    terminal = JobTerminal(job, HandedTerminal(master, inner, sink), journal, lambda _: None)
    return terminal, printed, journal


async def test_what_a_full_disk_does_not_take_waits_and_is_said(tmp_path: Path) -> None:
    sink = os.open("/dev/full", os.O_WRONLY)
    terminal, printed, journal = on(sink)
    os.write(printed, b"one\n")
    await eventually(lambda: journal.texts, "the complaint")
    assert "it has to wait: no space left on the disk" in journal.texts[0]
    with open(tmp_path / "out", "wb") as file:
        os.dup2(file.fileno(), sink)  # there is room again
    os.write(printed, b"two\n")
    os.close(printed)
    await eventually(lambda: (tmp_path / "out").read_bytes() == b"one\r\ntwo\r\n", "both lines in the file")
    assert len(journal.texts) == 1
    terminal.close()


async def test_what_is_lost_at_the_end_is_counted() -> None:
    terminal, printed, journal = on(os.open("/dev/full", os.O_WRONLY))
    os.write(printed, b"last\n")
    os.close(printed)
    terminal.close()
    assert journal.texts[-1] == "the last 6 bytes that it printed are lost: the file took no more"


async def test_a_flood_lets_others_have_their_turn(tmp_path: Path) -> None:
    sink = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    terminal, printed, _ = on(sink)
    writing = asyncio.get_running_loop().run_in_executor(None, lambda: os.write(printed, b"x" * (4 << 20)))
    passes = 0
    while os.path.getsize(tmp_path / "out") < 4 << 20:
        await asyncio.sleep(0)
        passes += 1
    assert passes >= (4 << 20) // (128 << 10)  # at most two of its own between two of ours
    assert await writing == 4 << 20
    os.close(printed)
    terminal.close()


def test_a_terminal_tells_its_size_and_its_hangup() -> None:
    master, inner = open_terminal(132, 43)
    assert size_of(inner) == size_of(master) == (132, 43)
    set_size(master, 80, 24)
    assert size_of(inner) == (80, 24)
    assert read_some(master) is None
    os.write(inner, b"bye")
    os.close(inner)
    assert (read_some(master), read_some(master)) == (b"bye", b"")
    os.close(master)


@pytest.mark.parametrize(
    ("pieces", "changed"),
    [
        ([b"plain"], ()),
        ([b"\x1b[?1049h\x1b[?25l"], (25, 1049)),
        ([b"\x1b[?1049h", b"text", b"\x1b[?1049l"], ()),
        ([b"a\x1b", b"[", b"?", b"20", b"04", b"h"], (2004,)),
        ([b"\x1b[?1000;1006h"], (1000, 1006)),
        ([b"\x1b[?25l\x1b[?1h\x1bc"], ()),
        ([b"\x1b[?2004h\x1b[!", b"p"], ()),
        ([b"\x1b[?12h\x1b[?99999h"], ()),
        ([b"\x1b[?25h\x1b[?7h"], ()),
        ([b"\x1b[?" + b"9" * 100 + b"h", b"\x1b[?25l"], (25,)),
    ],
)
def test_modes_are_followed_over_the_ends_of_pieces(pieces: list[bytes], changed: tuple[int, ...]) -> None:
    modes = TerminalModes()
    for piece in pieces:
        assert modes.feed(piece) == piece
    assert modes.changed == changed
    assert modes.is_full_screen == (1049 in changed)


def test_modes_are_taken_on_and_set_back() -> None:
    assert entering((25, 1049, 2004)) == b"\x1b[?1049h\x1b[?25l\x1b[?2004h"
    assert leaving((25, 1049, 2004)) == b"\x1b[?25h\x1b[?2004l\x1b[?1049l"
