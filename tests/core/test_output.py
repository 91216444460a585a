from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corral.model.text import sanitise
from corral.output.reader import CUT, LINE_LIMIT, Chunk, Cursor, LineIndex, OutputFile, PollInterval
from holes import drop

PAGE = 4096


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def indexed(path: Path) -> LineIndex:
    index = LineIndex(OutputFile(str(path)))
    index.extend(1 << 40)
    return index


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stdout"


def test_a_file_that_is_not_there_yet_is_empty(path: Path) -> None:
    with OutputFile(str(path)) as file:
        assert (file.size(), file.first_kept(), file.read(0)) == (0, 0, Chunk(0, b""))
        assert file.tail(10) == Chunk(0, b"")
        append(path, b"abc")
        assert file.read(1, 10) == Chunk(1, b"bc")
        assert file.read(3, 10) == Chunk(3, b"")


def test_reading_stops_at_the_limit_and_the_tail_at_the_start(path: Path) -> None:
    append(path, b"abcdef")
    with OutputFile(str(path)) as file:
        assert file.read(1, 3).data == b"bcd"
        assert file.tail(2) == Chunk(4, b"ef")
        assert file.tail(100) == Chunk(0, b"abcdef")
        assert [chunk.data for chunk in file.chunks(1, 6, 2)] == [b"bc", b"de", b"f"]


def test_closing_twice_is_fine_and_reading_opens_again(path: Path) -> None:
    append(path, b"a")
    file = OutputFile(str(path))
    assert file.size() == 1
    file.close()
    file.close()
    assert file.read(0).data == b"a"
    file.close()


def test_a_dropped_head_is_counted_and_never_read_as_nuls(path: Path) -> None:
    append(path, b"a" * PAGE + b"b" * PAGE + b"c" * 10)
    drop(path, PAGE)
    with OutputFile(str(path)) as file:
        assert file.first_kept() == PAGE
        assert file.read(100, 5) == Chunk(PAGE, b"bbbbb", PAGE - 100)
        assert file.read(PAGE + 1, 5) == Chunk(PAGE + 1, b"bbbbb")
        assert file.start_of_last_lines(3) == PAGE


def test_a_head_dropped_while_it_is_read_is_discarded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append(path, b"a" * PAGE + b"b" * PAGE)
    pread = os.pread

    def drop_then_pread(descriptor: int, limit: int, offset: int) -> bytes:
        drop(path, PAGE)
        return pread(descriptor, limit, offset)

    with OutputFile(str(path)) as file:
        monkeypatch.setattr(os, "pread", drop_then_pread)
        assert file.read(10, 100) == Chunk(PAGE, b"", PAGE - 10)
        assert file.read(PAGE - 1, 100) == Chunk(PAGE, b"b" * 100, 1)


def test_a_file_that_is_all_hole_has_dropped_everything(path: Path) -> None:
    append(path, b"a" * PAGE)
    drop(path, PAGE)
    with OutputFile(str(path)) as file:
        assert file.first_kept() == PAGE
        assert file.read(0) == Chunk(PAGE, b"", PAGE)


def test_holes_that_nobody_dropped_are_the_writers_own_zeros(path: Path) -> None:
    with path.open("wb") as file:
        file.seek(4 * PAGE)
        file.write(b"a")
    with OutputFile(str(path)) as file:
        assert (file.first_kept(), file.read(0).data) == (0, bytes(4 * PAGE) + b"a")


def test_a_file_made_shorter_than_what_was_dropped_begins_anew(path: Path) -> None:
    append(path, b"a" * 3 * PAGE)
    drop(path, 2 * PAGE)
    with OutputFile(str(path)) as file:
        assert file.first_kept() == 2 * PAGE
        os.truncate(path, 0)
        append(path, b"new")
        assert file.read(0) == Chunk(0, b"new")


def test_what_a_read_past_a_dropped_head_finds_ends_where_it_is_to_end(path: Path) -> None:
    append(path, b"a" * PAGE + b"bbbccc")
    drop(path, PAGE)
    with OutputFile(str(path)) as file:
        assert list(file.chunks(PAGE - 2, PAGE + 3)) == [Chunk(PAGE, b"bbb", 2)]
        assert list(file.chunks(0, PAGE - 2)) == [Chunk(PAGE - 2, b"", PAGE - 2)]


@pytest.mark.parametrize(
    ("data", "count", "expected"),
    [
        (b"", 3, b""),
        (b"a\nb\nc\n", 0, b""),
        (b"a\nb\nc\n", 1, b"c\n"),
        (b"a\nb\nc\n", 2, b"b\nc\n"),
        (b"a\nb\nc", 2, b"b\nc"),
        (b"a\nb\nc\n", 9, b"a\nb\nc\n"),
        (b"\n\n\n", 2, b"\n\n"),
        (b"x" * 200_000 + b"\ny\n", 2, b"x" * 200_000 + b"\ny\n"),
        (
            b"a\n" + b"x" * 65_535 + b"\n" + b"y" * 65_535 + b"\n",
            2,
            b"x" * 65_535 + b"\n" + b"y" * 65_535 + b"\n",
        ),
    ],
)
def test_the_last_lines(path: Path, data: bytes, count: int, expected: bytes) -> None:
    append(path, data)
    with OutputFile(str(path)) as file:
        assert file.last_lines(count).data == expected


def test_the_last_lines_of_a_huge_file_take_little_memory(path: Path) -> None:
    append(path, b"first\n")
    os.truncate(path, 1 << 36)
    append(path, b"\nlast\n")
    with OutputFile(str(path)) as file:
        tracemalloc.start()
        assert file.last_lines(1).data == b"last\n"
        assert file.last_lines(1, limit=3).data == b"st\n"
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 1 << 20


def test_the_pace_slows_after_a_second_of_silence_and_recovers() -> None:
    pace = PollInterval(100.0)
    assert pace.delay(100.9, had_output=False) == 0.02
    assert pace.delay(101.0, had_output=False) == 0.05
    assert pace.delay(107.0, had_output=True) == 0.02
    assert pace.delay(107.5, had_output=False) == 0.02


def test_a_cursor_sees_each_byte_once(path: Path) -> None:
    append(path, b"one")
    with OutputFile(str(path)) as file:
        place = Cursor(file)
        assert place.read() == Chunk(0, b"one")
        assert place.read() == Chunk(3, b"")
        append(path, b"two")
        assert place.read(limit=2) == Chunk(3, b"tw")
        assert place.read() == Chunk(5, b"o")
        assert place.read() == Chunk(6, b"")


def test_a_cursor_stops_at_the_end_it_is_given(path: Path) -> None:
    append(path, b"of the job, of its leftovers")
    with OutputFile(str(path)) as file:
        place = Cursor(file, 3)
        assert place.read(end=10) == Chunk(3, b"the job")
        assert place.read(end=10) == Chunk(10, b"")


def test_a_cursor_tells_what_was_dropped(path: Path) -> None:
    append(path, b"a" * PAGE + b"b")
    drop(path, PAGE)
    with OutputFile(str(path)) as file:
        assert Cursor(file).read() == Chunk(PAGE, b"b", PAGE)


def test_a_cursor_begins_anew_when_a_file_was_made_shorter(path: Path) -> None:
    append(path, b"long text")
    with OutputFile(str(path)) as file:
        place = Cursor(file)
        place.read()
        os.truncate(path, 0)
        append(path, b"new")
        assert place.read() == Chunk(0, b"new", after_truncation=True)


@pytest.mark.parametrize("returns", [b"", b"\r"])
def test_of_a_picture_no_line_has_anything_to_see(path: Path, returns: bytes) -> None:
    chunk = b"\x1b_Gm=1;" + b"aGVsbG8" * 585 + b"\x1b\\"
    path.write_bytes(b"before\n" + returns + chunk * 80 + b"after\n" + b"next\n")
    index = LineIndex(OutputFile(str(path)))
    index.extend()
    shown = [sanitise(line).strip("\r\u240d\u2026") for line in index.lines(0, 3)]
    assert shown == ["before", "after" if returns else "", "next"]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(
        st.sampled_from([b"a", b"\n", b"bc\n", b"\n\n", b"x" * 70_000, b"y\n" * 40_000]), max_size=8
    )
)
def test_an_index_finds_the_lines_that_splitting_finds(path: Path, pieces: list[bytes]) -> None:
    path.write_bytes(b"")
    index = LineIndex(OutputFile(str(path)))
    for piece in pieces:
        append(path, piece)
        while index.extend(50_000):
            pass
    expected = b"".join(pieces).split(b"\n")
    if not expected[-1]:
        expected.pop()
    assert index.is_complete
    assert index.line_count == len(expected)
    for first in range(0, len(expected), max(1, len(expected) // 5)):
        shown = [
            line if len(line) <= LINE_LIMIT else line[:LINE_LIMIT] + CUT
            for line in expected[first : first + 3]
        ]
        assert index.lines(first, 3) == shown


def test_an_index_is_extended_in_bounded_steps(path: Path) -> None:
    append(path, b"line\n" * 1000)
    index = LineIndex(OutputFile(str(path)))
    assert index.line_count == 0
    assert index.extend(2500)
    assert (index.line_count, index.indexed_bytes, index.is_complete) == (500, 2500, False)
    assert index.extend()
    assert (index.line_count, index.is_complete) == (1000, True)
    assert not index.extend()


def test_an_unfinished_line_counts_and_grows(path: Path) -> None:
    append(path, b"a\nb")
    index = indexed(path)
    assert (index.line_count, index.lines(0, 9)) == (2, [b"a", b"b"])
    append(path, b"c\nd")
    index.extend()
    assert (index.line_count, index.lines(1, 9)) == (3, [b"bc", b"d"])


def test_a_million_lines_are_indexed_in_little_memory(path: Path) -> None:
    path.write_bytes(b"".join(b"%d\n" % number for number in range(1_000_000)))
    tracemalloc.start()
    index = indexed(path)
    assert index.line_count == 1_000_000
    assert index.lines(765_432, 2) == [b"765432", b"765433"]
    assert index.lines(999_999, 5) == [b"999999"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_a_line_of_100_mb_is_never_loaded(path: Path) -> None:
    append(path, b"first\nlong")
    os.truncate(path, 100 << 20)
    append(path, b"\nlast\n")
    tracemalloc.start()
    index = indexed(path)
    first, long, last = index.lines(0, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (first, last, index.line_count) == (b"first", b"last", 3)
    assert long == b"long".ljust(LINE_LIMIT, b"\0") + CUT
    assert peak < 8 << 20


def test_a_cut_line_ends_with_a_whole_character(path: Path) -> None:
    append(path, b"a" + "é".encode() * LINE_LIMIT)
    (line,) = indexed(path).lines(0, 1)
    assert line.decode().endswith("é…")


def test_of_a_long_progress_bar_the_end_is_shown(path: Path) -> None:
    append(path, b"".join(b"\r%6d done" % number for number in range(100_000)))
    (line,) = indexed(path).lines(0, 1)
    assert line.startswith(CUT)
    assert line.endswith(b"\r 99999 done")
    append(path, b"\nnext")
    index = indexed(path)
    assert index.lines(0, 1) == [line]


def test_lines_keep_their_number_when_the_head_is_dropped(path: Path) -> None:
    append(path, b"".join(b"%07d\n" % number for number in range(100_000)))
    index = indexed(path)
    drop(path, 50 * PAGE)
    assert index.lines(0, 2) == [b"%07d" % (50 * PAGE // 8), b"%07d" % (50 * PAGE // 8 + 1)]
    assert index.first_line == 50 * PAGE // 8
    assert index.lines(99_998, 9) == [b"0099998", b"0099999"]
    assert index.line_count == 100_000


def test_the_first_kept_line_may_be_the_rest_of_one(path: Path) -> None:
    append(path, b"zero\n" + b"1" * PAGE + b"\ntwo\n")
    index = indexed(path)
    drop(path, PAGE)
    assert index.extend()
    assert (index.first_line, index.lines(0, 9)) == (1, [b"1" * 5, b"two"])


def test_a_head_dropped_before_it_was_indexed_is_skipped(path: Path) -> None:
    append(path, b"a\n" * PAGE + b"b\nc\n")
    index = LineIndex(OutputFile(str(path)))
    index.extend(10)
    drop(path, 2 * PAGE)
    index.extend()
    assert (index.first_line, index.line_count, index.lines(0, 9)) == (5, 7, [b"b", b"c"])


def test_a_file_made_shorter_begins_a_new_generation(path: Path) -> None:
    append(path, b"a\nb\nc\n")
    index = indexed(path)
    os.truncate(path, 0)
    append(path, b"x\n")
    assert index.extend()
    assert (index.generation, index.line_count, index.lines(0, 9)) == (1, 1, [b"x"])


def test_checkpoints_are_thinned_out_and_every_line_is_still_found(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corral.output.reader._CHECKPOINTS", 8)
    line = b"%09d\n"
    path.write_bytes(b"".join(line % number for number in range(300_000)))
    index = indexed(path)
    assert len(index._offsets) <= 9
    for number in range(0, 300_000, 29_989):
        assert index.lines(number, 1) == [b"%09d" % number]
