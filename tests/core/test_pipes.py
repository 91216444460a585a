from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.platform.files import pipes
from corral.platform.files.pipes import (
    PipeBudget,
    fill_and_capacity,
    inode_of,
    peek_bytes,
    pipe_of,
    set_capacity,
)
from until import python, running, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pipes are seen from outside on Linux only")
ME = os.getpid()


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    ends = [reader, writer]
    yield ends
    for end in ends:
        if end >= 0:
            os.close(end)


def close(pipe: list[int], end: int) -> None:
    os.close(pipe[end])
    pipe[end] = -1


def test_both_ends_show_the_same_pipe_and_fill(pipe):
    reader, writer = pipe
    os.write(writer, b"x" * 1000)
    assert pipe_of(ME, reader) == pipe_of(ME, writer) == inode_of(reader)
    assert fill_and_capacity(ME, reader) == (1000, 65536)
    assert fill_and_capacity(ME, writer) == (1000, 65536)
    assert os.read(reader, 5000) == b"x" * 1000


def test_pipe_of_another_process(pipe):
    reader, writer = pipe
    with running(*python("import time; time.sleep(30)"), stdin=reader) as process:
        os.write(writer, b"abc")
        assert pipe_of(process.pid, 0) == inode_of(writer)
        assert fill_and_capacity(process.pid, 0) == (3, 65536)


def test_peeking_takes_nothing_out(pipe):
    reader, writer = pipe
    assert peek_bytes(ME, reader, 100) == b""
    for piece in (b"one\n", b"two\n" * 5000, b"end"):
        os.write(writer, piece)
    whole = b"one\n" + b"two\n" * 5000 + b"end"
    assert peek_bytes(ME, reader, 6) == peek_bytes(ME, writer, 6) == b"one\ntw"
    assert peek_bytes(ME, reader, 1 << 20) == whole
    set_capacity(writer, 1 << 20)
    os.write(writer, bytes(900_000))
    assert peek_bytes(ME, reader, 1 << 20) == whole + bytes(900_000)
    assert os.read(reader, 1 << 20) == whole + bytes(900_000)


def test_peeking_keeps_no_end_open(pipe):
    reader, writer = pipe
    os.write(writer, b"x")
    assert peek_bytes(ME, reader, 9) == b"x"
    close(pipe, 0)
    with pytest.raises(BrokenPipeError):
        os.write(writer, b"x")
    with pytest.raises(BrokenPipeError):
        peek_bytes(ME, writer, 9)  # A reader, were it for a moment, would let a write succeed.
    assert fill_and_capacity(ME, writer) == (1, 65536)
    with pytest.raises(BrokenPipeError):
        os.write(writer, b"x")


def test_what_is_no_pipe_is_not_opened(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path, flags in (("/dev/null", os.O_RDWR), (str(tmp_path), os.O_RDONLY), (str(fifo), os.O_RDWR)):
        fd = os.open(path, flags)
        try:
            assert pipe_of(ME, fd) is None
            assert fill_and_capacity(ME, fd) is None
        finally:
            os.close(fd)
    assert fill_and_capacity(ME, 99999) is None
    with running("true") as process:
        process.wait()
        assert fill_and_capacity(process.pid, 0) is None


def test_reader_sees_the_end_while_it_is_looked_at(pipe):
    reader = pipe[0]
    with running(
        *python("import os; print(len(os.read(0, 9)))"), stdin=reader, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        close(pipe, 0)
        for _ in range(200):
            assert fill_and_capacity(process.pid, 0) == (0, 65536)
        close(pipe, 1)
        assert process.stdout.read() == b"0\n"


def test_looking_never_lets_a_writer_write_to_nobody(pipe):
    """The pipe is opened for writing: were it for reading, a write after the reader has gone could succeed."""
    code = "import os, signal\nsignal.signal(13, 0)\nos.read(0, 1)\nos.write(1, b'x')"
    with running(*python(code), stdin=subprocess.PIPE, stdout=pipe[1]) as process:
        assert process.stdin is not None
        close(pipe, 1)
        close(pipe, 0)
        looking = os.open(f"/proc/{process.pid}/fd/1", os.O_WRONLY | os.O_NONBLOCK)
        try:
            process.stdin.write(b"\n")
            process.stdin.flush()
            assert process.wait() == -signal.SIGPIPE
        finally:
            os.close(looking)


def test_capacity_is_set_and_refused_without_an_error(pipe):
    reader, writer = pipe
    assert set_capacity(writer, 1 << 20) == 1 << 20
    assert pipes.capacity_of(reader) == 1 << 20
    os.write(writer, b"x" * 200_000)
    assert set_capacity(writer, 65536) is None
    assert fill_and_capacity(ME, writer) == (200_000, 1 << 20)


def test_full_pipe_of_a_blocked_writer_is_seen(pipe):
    with running(*python("import os; os.write(1, b'x' * 1000000)"), stdout=pipe[1]) as process:
        until(lambda: fill_and_capacity(process.pid, 1) == (65536, 65536), "the pipe to be full")


def test_budget_stays_under_a_quarter():
    budget = PipeBudget(soft_limit_bytes=64 << 20, largest_bytes=1 << 20)
    sizes = []
    while (size := budget.size_for_next()) is not None:
        budget.took(size)
        sizes.append(size)
    assert sizes == [1 << 20] * 16
    budget.gave_back(1 << 20)
    assert budget.size_for_next() == 1 << 20


def test_budget_without_a_limit_and_with_a_small_largest_size():
    assert PipeBudget(soft_limit_bytes=0, largest_bytes=1 << 20).size_for_next() == 1 << 20
    assert PipeBudget(soft_limit_bytes=0, largest_bytes=1 << 18).size_for_next() == 1 << 18
    assert PipeBudget(soft_limit_bytes=0, largest_bytes=4096).size_for_next() is None


def test_budget_of_this_machine_is_read():
    assert PipeBudget().held_bytes == 0


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([4096, 65536, 1 << 20])), max_size=200))
def test_budget_never_grants_what_would_go_over(events):
    budget = PipeBudget(soft_limit_bytes=64 << 20, largest_bytes=1 << 20)
    for takes, default in events:
        if takes:
            granted = budget.size_for_next()
            if granted is not None:
                assert budget.held_bytes + granted <= 16 << 20
            budget.took(granted or default)
        else:
            budget.gave_back(default)
        assert budget.held_bytes >= 0
