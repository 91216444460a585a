"""Splitting a stream into lines, whatever pieces it comes in, with the descriptors beside them."""

from __future__ import annotations

import fcntl
import itertools
import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.model.errors import DaemonUnavailableError
from corral.protocol.framing import LineReader, LineSplitter, close_all, receive, send_line

LIMIT = 50


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@given(
    st.lists(st.binary(max_size=80).filter(lambda line: b"\n" not in line)), st.lists(st.integers(0, 10_000))
)
def test_lines_come_out_as_they_went_in(lines: list[bytes], cuts: list[int]) -> None:
    splitter = LineSplitter(LIMIT)
    out = [
        line
        for piece in pieces_of(b"".join(line + b"\n" for line in lines), cuts)
        for line, _ in splitter.feed(piece, [])
    ]
    assert out == [line if len(line) <= LIMIT else None for line in lines]


@given(st.binary(max_size=300), st.lists(st.integers(0, 10_000)), st.lists(st.integers(0, 20)))
def test_every_descriptor_comes_out_once(data: bytes, cuts: list[int], at: list[int]) -> None:
    splitter = LineSplitter(LIMIT)
    pieces = pieces_of(data, cuts)
    given_, out = [], []
    for number, piece in enumerate(pieces):
        beside = [1000 + number] if number in at and len(given_) < 8 else []
        given_ += beside
        out += [one for _, descriptors in splitter.feed(piece, beside) for one in descriptors]
    out += [one for _, descriptors in splitter._beside for one in descriptors]
    assert out == given_


def test_descriptors_belong_to_the_line_that_they_came_with() -> None:
    splitter = LineSplitter(LIMIT)
    assert splitter.feed(b"a\nb\n", [3]) == [(b"a", []), (b"b", [3])]
    assert splitter.feed(b"c\nd", [4]) == [(b"c", [])]
    assert splitter.feed(b"\ne\n", []) == [(b"d", [4]), (b"e", [])]
    assert splitter.feed(b"x" * 60, [5]) == []
    assert splitter.feed(b"\n", []) == [(None, [5])]


def test_descriptors_of_a_line_without_end_are_bounded() -> None:
    splitter = LineSplitter(LIMIT)
    ours = os.listdir("/proc/self/fd")
    for _ in range(100):
        splitter.put(b"x", [os.open(os.devnull, os.O_RDONLY) for _ in range(8)])
        assert splitter.next() is None
    assert len(os.listdir("/proc/self/fd")) == len(ours) + 8
    splitter.close()
    assert len(os.listdir("/proc/self/fd")) == len(ours)


def test_line_feeds_are_cut_one_by_one() -> None:
    splitter = LineSplitter(LIMIT)
    splitter.put(b"\n" * 100_000, [])
    assert splitter.next() == (b"", [])
    assert splitter.held_bytes == 99_999


def test_memory_is_bounded_by_the_limit() -> None:
    splitter = LineSplitter(LIMIT)
    for _ in range(1000):
        assert splitter.feed(b"x" * 1000, []) == []
        assert splitter.held_bytes <= LIMIT
    assert splitter.feed(b"\nnext\n", []) == [(None, []), (b"next", [])]


@pytest.mark.parametrize("size", [0, 10, 200_000])
def test_over_a_socket_a_line_keeps_its_descriptor(size: int) -> None:
    ours, theirs = socket.socketpair()
    null = os.open(os.devnull, os.O_RDONLY)
    try:
        reader = LineReader(theirs)
        ours.setblocking(True)
        if size < 100_000:
            send_line(ours, b"before\n")
            send_line(ours, b"x" * size + b"\n", [null])
            send_line(ours, b"after\n")
            lines: list[bytes] = []
            while len(lines) < 3:
                lines += reader.read_more()
            assert lines == [b"before", b"x" * size, b"after"]
        else:
            import threading

            thread = threading.Thread(target=send_line, args=(ours, b"x" * size + b"\n", [null]))
            thread.start()
            lines = []
            while not lines:
                lines += reader.read_more()
            thread.join()
            assert lines == [b"x" * size]
        (received,) = reader.take_descriptors()
        assert os.path.samestat(os.fstat(received), os.fstat(null))
        assert fcntl.fcntl(received, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        close_all([received])
    finally:
        os.close(null)
        ours.close()
        theirs.close()


def test_more_descriptors_than_fit_are_closed_by_the_kernel() -> None:
    ours, theirs = socket.socketpair()
    null = os.open(os.devnull, os.O_RDONLY)
    before = len(os.listdir("/proc/self/fd"))
    try:
        socket.send_fds(ours, [b"x"], [null] * 100)
        _, descriptors = receive(theirs)
        assert 0 < len(descriptors) < 100
        close_all(descriptors)
        assert len(os.listdir("/proc/self/fd")) == before
    finally:
        os.close(null)
        ours.close()
        theirs.close()


def test_the_end_of_the_daemon_is_said() -> None:
    ours, theirs = socket.socketpair()
    reader = LineReader(theirs)
    ours.close()
    with pytest.raises(DaemonUnavailableError):
        reader.read_more()
    with pytest.raises(DaemonUnavailableError):
        send_line(theirs, b"x\n")
    theirs.close()
