"""A block beyond the end of a file: gone once the file was made shorter, there whatever else is done to it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from corral.platform.files import hole_punching, truncation_tripwire
from holes import on_disk


@pytest.fixture
def sectors(tmp_path: Path) -> int:
    found = truncation_tripwire.sectors_in(str(tmp_path))
    if not found:
        pytest.skip("this file system has no such block")
    return found


@pytest.fixture
def file(tmp_path: Path, sectors: int) -> Iterator[int]:
    descriptor = os.open(tmp_path / "stdout", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    assert truncation_tripwire.set_up(descriptor)
    yield descriptor
    os.close(descriptor)


def opened_anew(file: int, flags: int, data: bytes) -> None:
    again = os.open(f"/proc/self/fd/{file}", os.O_WRONLY | flags)
    os.write(again, data)
    os.close(again)


@pytest.mark.parametrize("before", [0, 1, 511, 512, 4096, 4097, 100_000])
@pytest.mark.parametrize("after", [0, 1, 4096, 200_000])
def test_a_truncation_is_remembered_whatever_is_written_before_and_after(
    file: int, sectors: int, before: int, after: int
) -> None:
    os.write(file, bytes(before))
    assert not truncation_tripwire.was_touched(os.fstat(file), sectors)
    assert os.fstat(file).st_size == before
    opened_anew(file, os.O_TRUNC, b"")
    os.write(file, bytes(after))
    assert truncation_tripwire.was_touched(os.fstat(file), sectors)
    os.fsync(file)
    assert truncation_tripwire.was_touched(os.fstat(file), sectors)
    assert truncation_tripwire.set_up(file)
    os.write(file, bytes(10))
    assert not truncation_tripwire.was_touched(os.fstat(file), sectors)


@pytest.mark.parametrize(
    "done",
    [
        lambda file: opened_anew(file, os.O_APPEND, b"x" * 5000),
        lambda file: opened_anew(file, 0, b"overwritten"),
        lambda file: os.pwrite(file, bytes(10), 0),
        os.fsync,
        lambda file: hole_punching.punch(file, 0, 8192),
        # A hole of its own: fewer blocks than bytes, which tells nothing.
        lambda file: _write_beyond(file),
    ],
)
def test_nothing_else_raises_an_alarm(file: int, sectors: int, done: Callable[[int], None]) -> None:
    os.write(file, b"x" * 20_000)
    done(file)
    assert not truncation_tripwire.was_touched(os.fstat(file), sectors)


def _write_beyond(file: int) -> None:
    again = os.open(f"/proc/self/fd/{file}", os.O_WRONLY)
    os.pwrite(again, b"far", 1 << 30)
    os.close(again)


def test_it_takes_a_block_and_gives_it_back_once_nobody_else_has_the_file_open(
    file: int, tmp_path: Path, sectors: int
) -> None:
    path = tmp_path / "stdout"
    os.write(file, b"kept")
    before = on_disk(path)
    other = os.open(path, os.O_WRONLY)
    try:
        assert not truncation_tripwire.take_away(other)
        assert on_disk(path) == before
        os.close(file)
        os.utime(path, ns=(1_000, 2_000))
        assert truncation_tripwire.take_away(other)
        assert on_disk(path) == before - sectors * 512
        assert path.stat().st_mtime_ns == 2_000
        assert path.read_bytes() == b"kept"
    finally:
        os.dup2(other, file)
        os.close(other)


def test_where_there_is_none_that_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hole_punching, "_fallocate", lambda: None)
    assert truncation_tripwire.sectors_in(str(tmp_path / "nowhere")) == 0
    (tmp_path / "there").mkdir()
    assert truncation_tripwire.sectors_in(str(tmp_path / "there")) == 0
