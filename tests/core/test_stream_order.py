"""Several streams as one: what is noted of their order, and what is made of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.output import stream_order
from corral.output.stream_order import MergedStreams, StreamRun, forget, note_growth, read_order


class Streams:
    """Two files that grow, and somebody who looks."""

    def __init__(self, folder: Path) -> None:
        self.paths = [os.fspath(folder / name) for name in ("stdout", "stderr.1")]
        self.order = os.fspath(folder / "order")
        for path in self.paths:
            Path(path).write_bytes(b"")
        self.sizes = [0, 0]
        self.newest: int | None = None
        self.time = 0

    def write(self, number: int, text: str) -> None:
        with open(self.paths[number], "ab") as file:
            file.write(text.encode())
        self.time += 1
        os.utime(self.paths[number], ns=(self.time, self.time))

    def look(self) -> None:
        sizes = [os.path.getsize(path) for path in self.paths]
        self.newest = note_growth(
            self.order, self.newest, self.sizes, sizes, lambda number: os.stat(self.paths[number]).st_mtime_ns
        )
        self.sizes = sizes

    def merged(self, tail: int | None = None, limit: int = 1 << 20) -> str:
        merged = MergedStreams(self.paths, self.order)
        if tail is not None:
            merged.skip_to_last_lines(tail)
        ends = merged.sizes()
        pieces = []
        while (found := merged.read(limit, ends)) is not None:
            pieces.append(found[1].data)
        merged.close()
        return b"".join(pieces).decode()


@pytest.fixture
def streams(tmp_path: Path) -> Streams:
    return Streams(tmp_path)


def test_the_order_is_that_of_the_looks(streams: Streams) -> None:
    for number in range(6):
        streams.write(number % 2, f"{number}\n")
        streams.look()
    assert streams.merged() == "0\n1\n2\n3\n4\n5\n"
    assert streams.merged(limit=1) == streams.merged()
    assert [streams.merged(tail) for tail in (0, 1, 2, 5, 9)] == [
        "",
        "5\n",
        "4\n5\n",
        "1\n2\n3\n4\n5\n",
        streams.merged(),
    ]


def test_one_stream_alone_notes_nothing(streams: Streams) -> None:
    for _ in range(3):
        streams.write(1, "x\n")
        streams.look()
    assert not os.path.exists(streams.order)
    assert streams.merged() == "x\nx\nx\n"


def test_of_the_same_moment_the_one_written_last_comes_last(streams: Streams) -> None:
    streams.write(0, "out\n")
    streams.write(1, "err\n")
    streams.look()
    streams.write(1, "err 2\n")
    streams.write(0, "out 2\n")
    streams.look()
    streams.write(0, "out 3\n")
    assert streams.merged() == "out\nerr\nerr 2\nout 2\nout 3\n"


def test_no_line_is_torn_where_its_end_has_come(streams: Streams) -> None:
    streams.write(0, "one ")
    streams.look()
    streams.write(1, "err\n")
    streams.look()
    streams.write(0, "line\nPassword: ")
    streams.look()
    streams.write(1, "wrong\n")
    assert streams.merged() == "one line\nerr\nPassword: wrong\n"


def test_a_look_by_somebody_new_goes_on(streams: Streams) -> None:
    streams.write(0, "1\n")
    streams.look()
    streams.write(1, "2\n")
    streams.look()
    streams.newest = None
    streams.write(0, "3\n")
    streams.look()
    assert streams.merged() == "1\n2\n3\n"
    streams.sizes, streams.newest = [0, 0], None
    streams.write(1, "4\n")
    streams.look()
    assert streams.merged() == "1\n2\n3\n4\n"


def test_a_stream_that_was_emptied_has_no_order_any_more(streams: Streams) -> None:
    streams.write(0, "1\n")
    streams.look()
    streams.write(1, "2\n")
    streams.look()
    os.truncate(streams.paths[0], 0)
    streams.look()
    assert read_order(streams.order) == []
    streams.write(0, "3\n")
    assert streams.merged() == "2\n3\n"


def test_what_was_noted_stays_bounded(streams: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_order, "MOST_RUNS", 20)
    for number in range(100):
        streams.write(number % 2, f"{number}\n")
        streams.look()
    assert len(read_order(streams.order)) <= 22
    assert streams.merged(9) == "".join(f"{number}\n" for number in range(91, 100))
    assert sorted(map(int, streams.merged().split())) == list(range(100))


@given(
    noted=st.lists(st.builds(StreamRun, st.integers(0, 3), st.integers(0, 1 << 40)), max_size=9),
    rest=st.binary(max_size=9),
)
def test_whatever_stands_in_the_notes_each_byte_comes_once(
    noted: list[StreamRun], rest: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    streams = Streams(tmp_path_factory.mktemp("streams"))
    streams.write(0, "a\nb\nc")
    streams.write(1, "d\ne\n")
    forget(streams.order)
    Path(streams.order).write_bytes(b"".join(stream_order._RECORD.pack(*run) for run in noted) + rest)
    assert sorted(streams.merged()) == sorted("a\nb\ncd\ne\n")
    assert streams.merged(100) == streams.merged()


def test_what_stands_in_place_of_the_notes_holds_nobody(streams: Streams) -> None:
    os.mkfifo(streams.order)
    for number in range(4):
        streams.write(number % 2, f"{number}\n")
        streams.look()
    assert sorted(streams.merged().split()) == ["0", "1", "2", "3"]
