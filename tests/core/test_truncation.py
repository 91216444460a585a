"""What tells that a file was made shorter, and who reads such files on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corral.library.job_handle import _read_all
from corral.output.reader import Chunk, Cursor, LineIndex, OutputFile
from corral.output.truncation import PIECE_SIZE, Fingerprint, Truncation
from corral.platform.files.inotify import OPENED, Watcher
from corral.platform.inspect.open_files import appended_up_to
from holes import drop
from until import until

PAGE = 4096


def reader(content: bytes) -> Callable[[int, int], bytes]:
    return lambda offset, count: content[offset : offset + count]


def traced(content: bytes) -> Fingerprint:
    trace = Fingerprint()
    trace.advance(reader(content), len(content))
    return trace


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (b"one\ntwo\n", b"one\ntwo\nthree\n", None),
        (b"one\ntwo\n", b"", Truncation(0, 0)),
        (b"preflight\n", b"1\n2\n3\n4\n5\n", Truncation(0, 0)),
        (b"preflight\n", b"much more than there was before\n", Truncation(0, 0)),
        (b"one\ntwo\n", b"one\n", Truncation(4, 4)),
        (b"one\ntwo\n", b"one\nzwei\n", Truncation(0, 4)),
        (b"tick\n", b"tick\n", None),
    ],
)
def test_a_file_that_is_not_what_it_was_was_made_shorter(
    before: bytes, after: bytes, expected: Truncation | None
) -> None:
    assert traced(before).look(reader(after), len(after)) == expected


@settings(deadline=None)
@given(
    ops=st.lists(
        st.one_of(
            st.tuples(st.just("write"), st.integers(1, 5000)),
            st.tuples(st.just("cut"), st.floats(0, 1)),
            st.tuples(st.just("look"), st.just(0)),
        ),
        max_size=30,
    )
)
def test_of_bytes_that_never_come_again_each_truncation_is_found_and_bounded(
    ops: list[tuple[str, float]],
) -> None:
    content, count, lowest = bytearray(), 0, 0
    trace = Fingerprint()
    for what, amount in [*ops, ("look", 0)]:
        if what == "write":
            for _ in range(int(amount) // 8 + 1):
                count += 1
                content += count.to_bytes(8, "big")
        elif what == "cut":
            del content[int(len(content) // 8 * amount) * 8 :]
            lowest = min(lowest, len(content))
        else:
            read = reader(bytes(content))
            found = trace.look(read, len(content))
            assert (found is not None) == (lowest < trace.end)
            if found is not None:
                assert found.least <= lowest <= found.most
                trace.forget(found)
            trace.advance(read, len(content))
            assert trace.end == len(content)
            lowest = len(content)
    assert len(trace.pieces) <= 100


def test_what_was_dropped_is_not_compared_and_what_cannot_be_read_tells_nothing() -> None:
    content = bytes(range(256)) * 64
    trace = traced(content)
    punched = bytes(PAGE) + content[PAGE:]
    assert trace.look(reader(punched), len(punched), PAGE) is None
    assert trace.look(lambda *_: b"", len(content)) is None
    trace.advance(lambda *_: b"", len(content) + 100)
    assert trace.end == len(content)
    assert trace.look(lambda *_: b"", 10) == Truncation(0, 10)


def test_another_trace_goes_on_from_its_pieces() -> None:
    content = b"".join(b"%d\n" % number for number in range(10_000))
    trace = Fingerprint()
    for end in range(1000, len(content), 1000):
        trace.advance(reader(content), end)
    again = Fingerprint(trace.end, trace.pieces)
    assert again.look(reader(content), len(content)) is None
    found = again.look(reader(content[:5000] + b"x" * 50_000), 55_000)
    assert found is not None
    assert 1000 < found.least <= 5000 <= found.most
    assert max(len(piece.data) for piece in trace.pieces) == PIECE_SIZE


# ---- readers ------------------------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stdout"


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def lines(count: int, word: bytes = b"line") -> bytes:
    return b"".join(b"%s %08d\n" % (word, number) for number in range(count))


def test_a_place_goes_on_where_what_is_new_begins(path: Path) -> None:
    append(path, lines(1000))
    with OutputFile(str(path)) as file:
        place = Cursor(file)
        assert place.read().data == lines(1000)
        path.write_bytes(b"")
        assert place.read() == Chunk(0, b"", after_truncation=True)
        append(path, b"new\n")
        assert place.read() == Chunk(0, b"new\n")
        # Grown beyond what it was, between two looks.
        path.write_bytes(lines(2000, b"more"))
        assert place.read() == Chunk(0, lines(2000, b"more"), after_truncation=True)
        os.truncate(path, 14 * 1500)
        append(path, b"behind the middle\n")
        again = place.read()
        assert again.after_truncation
        assert 14 * 1500 * 7 // 8 <= again.offset <= 14 * 1500
        assert again.data == (lines(1500, b"more") + b"behind the middle\n")[again.offset :]
        assert place.read() == Chunk(place.offset, b"")


def test_a_place_with_an_end_beyond_a_file_that_became_shorter_stays_within_it(path: Path) -> None:
    append(path, b"0123456789")
    with OutputFile(str(path)) as file:
        place = Cursor(file)
        place.read()
        path.write_bytes(b"new")
        assert place.read(end=30) == Chunk(0, b"new", after_truncation=True)
        assert place.read(end=30) == Chunk(3, b"")
        assert Chunk(10, b"").until(3) == Chunk(10, b"")


def test_a_head_that_is_dropped_is_no_truncation(path: Path) -> None:
    append(path, lines(2000))
    with OutputFile(str(path)) as file:
        place, index = Cursor(file), LineIndex(file)
        place.read()
        index.extend()
        drop(path, 2 * PAGE)
        append(path, b"next\n")
        assert place.read() == Chunk(len(lines(2000)), b"next\n")
        index.extend()
        assert (index.generation, index.line_count) == (0, 2001)


def test_an_index_begins_anew_however_long_the_file_is_by_now(path: Path) -> None:
    append(path, lines(100))
    with OutputFile(str(path)) as file:
        index = LineIndex(file)
        index.extend()
        path.write_bytes(lines(100, b"else") + b"and one\n")
        assert index.extend()
        assert (index.generation, index.line_count) == (1, 101)
        assert index.lines(99, 5) == [b"else 00000099", b"and one"]


def test_all_of_a_file_is_what_is_there_after_it_was_made_shorter(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(path, lines(100_000))
    read = OutputFile.read

    def shorter_while_read(self: OutputFile, offset: int, limit: int = 1 << 20) -> Chunk:
        chunk = read(self, offset, limit)
        if offset == 0 and chunk.end == 1 << 20:
            path.write_bytes(lines(90_000, b"else"))
        return chunk

    monkeypatch.setattr(OutputFile, "read", shorter_while_read)
    assert _read_all(str(path)) == lines(90_000, b"else")


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_place_reads_all_that_is_new_after_a_truncation_and_never_a_hole(
    path: Path, data: st.DataObject
) -> None:
    path.write_bytes(b"")
    count, expected, got = 0, b"", b""
    with OutputFile(str(path)) as file:
        place = Cursor(file)
        for _ in range(data.draw(st.integers(1, 12))):
            if data.draw(st.booleans()):
                path.write_bytes(b"")
                expected = b""
            fresh = b"".join(
                b"%08d\n" % number for number in range(count, count + data.draw(st.integers(0, 300)))
            )
            count += 300
            append(path, fresh)
            expected += fresh
            chunk = place.read()
            got = chunk.data if chunk.after_truncation else got + chunk.data
            assert got == expected


# ---- what wakes the monitor ----------------------------------------------------------------------------------------


def test_an_open_wakes_a_write_does_not_and_a_position_outlives_a_truncation(path: Path) -> None:
    watcher = Watcher()
    writer = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    assert watcher.descriptor is not None
    try:
        watch = watcher.watch(str(path), OPENED)
        assert watch is not None
        os.write(writer, b"0123456789more")
        assert watcher.changes() == []
        path.write_bytes(b"")
        until(lambda: (watch, OPENED) in watcher.changes(), "the open")
        inode = path.stat().st_ino
        assert appended_up_to(os.getpid(), writer, inode) == 14
        assert appended_up_to(os.getpid(), writer, inode + 1) == 0
        assert appended_up_to(os.getpid(), 9999, inode) == 0
        watcher.forget(watch)
    finally:
        os.close(writer)
        os.close(watcher.descriptor)
