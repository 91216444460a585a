"""From growing files to descriptors: every byte, in order, never stuck in a write."""

from __future__ import annotations

import os
import select
import signal
import termios
from pathlib import Path
from typing import Any

import pytest

from corral.model.text import VisibleStream
from corral_tui.cli.output.copy_output import (
    LONGEST_LINE,
    Copier,
    FileSource,
    Outlet,
    Prefixed,
    transform_for,
)
from corral_tui.cli.support.interrupts import Interrupts
from holes import drop

_NO_DROP = [0].append


@pytest.fixture
def pipe() -> Any:
    reader, writer = os.pipe()
    yield reader, writer
    for descriptor in (reader, writer):
        try:
            os.close(descriptor)
        except OSError:
            assert descriptor == reader


def _copier(path: Path, writer: int, **options: Any) -> Copier:
    return Copier([FileSource(os.fspath(path), Outlet(writer), on_drop=_NO_DROP, **options)])


def test_a_full_pipe_is_no_place_to_be_stuck_in(pipe: tuple[int, int], tmp_path: Path) -> None:
    reader, writer = pipe
    data = os.urandom(300_000)
    (tmp_path / "out").write_bytes(data)
    copier = _copier(tmp_path / "out", writer)
    copier.fix_ends()
    arrived = b""
    while not copier.is_done:
        while copier.step():
            pass
        arrived += os.read(reader, 70_000)
    while len(arrived) < len(data):
        arrived += os.read(reader, 70_000)
    copier.close()
    assert arrived == data


def test_what_is_written_after_the_end_is_not_copied(pipe: tuple[int, int], tmp_path: Path) -> None:
    reader, writer = pipe
    path = tmp_path / "out"
    path.write_bytes(b"before")
    copier = _copier(path, writer)
    copier.fix_ends()
    with path.open("ab") as file:
        file.write(b"after")
    while not copier.is_done:
        copier.step()
    copier.close()
    assert os.read(reader, 100) == b"before"


def test_a_file_that_is_not_there_yet(pipe: tuple[int, int], tmp_path: Path) -> None:
    reader, writer = pipe
    copier = _copier(tmp_path / "out", writer)
    assert not copier.step()
    (tmp_path / "out").write_bytes(b"now")
    assert copier.step()
    copier.close()
    assert os.read(reader, 100) == b"now"


def test_a_reader_that_goes_is_noticed_without_a_write(pipe: tuple[int, int], tmp_path: Path) -> None:
    reader, writer = pipe
    copier = _copier(tmp_path / "out", writer)
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        copier.wait(30, ())
    copier.discard()
    assert copier.wait(0, ()) == set()


def test_dropped_bytes_are_reported(pipe: tuple[int, int], tmp_path: Path) -> None:
    _, writer = pipe
    path = tmp_path / "out"
    path.write_bytes(bytes(1 << 20) + b"kept")
    drop(path, 1 << 20)
    dropped: list[int] = []
    copier = Copier([FileSource(os.fspath(path), Outlet(writer), on_drop=dropped.append)])
    copier.step()
    copier.close()
    assert dropped == [1 << 20]


def test_two_streams_on_one_terminal_are_not_mixed_within_a_letter_or_a_sequence(tmp_path: Path) -> None:
    """Else the one could end, with plain text, a sequence that the other had begun."""
    master, slave = os.openpty()
    settings = termios.tcgetattr(slave)
    settings[1] &= ~termios.OPOST
    termios.tcsetattr(slave, termios.TCSANOW, settings)
    letters, colours = "\u2603" * 2000, "\x1b[31m" * 2000
    (tmp_path / "out").write_text(f"{letters}\n{colours}|\n")
    (tmp_path / "err").write_text("2J" * 4000)
    outlets = Outlet(slave), Outlet(slave)
    try:
        streams = [
            FileSource(os.fspath(tmp_path / name), outlet, transform=VisibleStream(), on_drop=_NO_DROP)
            for name, outlet in zip(("out", "err"), outlets, strict=True)
        ]
        copier = Copier(streams)
        copier.fix_ends()
        shown = b""
        while not copier.is_done:
            copier.step()
            while select.select([master], [], [], 0)[0]:
                shown += os.read(master, 1 << 16)
        copier.close()
    finally:
        os.close(master)
        os.close(slave)
    text = shown.decode()
    assert (text.count("\u2603"), text.count("\x1b[31m"), text.count("2J")) == (2000, 2000, 4000)


def test_a_write_to_a_terminal_that_was_cut_short_is_finished_first(tmp_path: Path, monkeypatch: Any) -> None:
    master, slave = os.openpty()
    written: list[bytes] = []

    def write(descriptor: int, data: bytes) -> int:
        """As write(2) does when a signal comes in between."""
        written.append(bytes(data)[:3])
        return len(written[-1])

    (tmp_path / "out").write_bytes(b"\x1b[31mred")
    (tmp_path / "err").write_bytes(b"plain")
    try:
        streams = [
            FileSource(os.fspath(tmp_path / name), Outlet(slave), on_drop=_NO_DROP) for name in ("out", "err")
        ]
        monkeypatch.setattr(os, "write", write)
        copier = Copier(streams)
        copier.fix_ends()
        while not copier.is_done:
            copier.step()
        copier.close()
    finally:
        os.close(master)
        os.close(slave)
    assert b"".join(written) == b"\x1b[31mredplain"


def test_a_terminal_that_is_hung_up_is_noticed_while_nothing_is_printed(tmp_path: Path) -> None:
    master, slave = os.openpty()
    (tmp_path / "out").write_bytes(b"")
    copier = Copier([FileSource(os.fspath(tmp_path / "out"), Outlet(slave), on_drop=_NO_DROP)])
    try:
        os.close(master)
        with pytest.raises(OSError, match="hung up"):
            copier.wait(10.0, ())
    finally:
        copier.close()
        os.close(slave)


def test_prefixes_stand_before_whole_lines_only() -> None:
    prefixed = Prefixed(b"web | ", transform_for(os.open(os.devnull, os.O_WRONLY), "", raw=False))
    assert prefixed.feed(b"a\nb") == b"web | a\n"
    assert prefixed.feed(b"c\n\n") == b"web | bc\nweb | \n"
    assert prefixed.feed(b"end") == b""
    assert prefixed.flush() == b"web | end\n"
    assert prefixed.flush() == b""


def test_a_line_without_end_is_not_held_for_ever() -> None:
    prefixed = Prefixed(b"x | ", VisibleStream())
    out = prefixed.feed(b"y" * (LONGEST_LINE + 1))
    assert len(out) > LONGEST_LINE
    assert prefixed.flush() == b""


def test_on_a_terminal_sequences_are_seen_and_colours_kept() -> None:
    visible = VisibleStream()
    shown = visible.feed(b"\x1b[31mred\x1b[0m \x1b]0;title\x07\n") + visible.flush()
    assert b"\x1b[31mred\x1b[0m" in shown
    assert b"\x1b]" not in shown
    assert b"title" in shown


def test_interrupts_are_noted_and_wake() -> None:
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGTERM)
        copier = Copier([])
        assert copier.wait(30, (interrupts.fileno(),)) == {interrupts.fileno()}
        assert interrupts.count == 1
        assert interrupts.take() == [signal.SIGTERM]
        assert interrupts.take() == []
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_what_was_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            os.kill(os.getpid(), signal.SIGINT)
            assert interrupts.take() == []
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
