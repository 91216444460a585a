from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.platform.files.pipes import inode_of
from corral.platform.host.procfs import HAS_PROCFS
from corral.platform.inspect import syscalls
from corral.platform.inspect.syscalls import Call, parse_syscall, signed
from corral.waits.process_wait import ProcessWait, WaitClock, short_text, wait_of
from corral.waits.syscall_meanings import meaning_of
from until import python, running, until, zoo

LINUX = pytest.mark.skipif(not HAS_PROCFS, reason="waits are read from /proc")
KNOWN = (
    LINUX if os.uname().machine in ("x86_64", "aarch64") else pytest.mark.skip("numbers of calls not known")
)


def settled(pid: int, is_meant: Callable[[ProcessWait], bool]) -> ProcessWait:
    def seen() -> ProcessWait | None:
        wait = wait_of(pid)
        return wait if wait is not None and is_meant(wait) else None

    return until(seen, "the process to wait as expected")


def of_kind(pid: int, kind: str) -> ProcessWait:
    return settled(pid, lambda wait: wait.kind == kind)


@LINUX
@pytest.mark.parametrize(
    "code",
    [
        "import time; time.sleep(30)",
        "import select; select.select([], [], [], 30)",
        "import select; select.poll().poll(30000)",
    ],
)
def test_sleeps_are_timers(code):
    with running(*python(code)) as process:
        assert of_kind(process.pid, "timer").detail == "waits for a timer"


@LINUX
def test_sleep_is_still_a_timer_after_it_was_suspended():
    with running("sleep", "30") as process:
        of_kind(process.pid, "timer")
        process.send_signal(signal.SIGSTOP)
        assert of_kind(process.pid, "suspended").detail == "is suspended (state T)"
        process.send_signal(signal.SIGCONT)
        of_kind(process.pid, "timer")


@KNOWN
def test_reader_and_writer_of_pipes():
    reader, writer = os.pipe()
    try:
        with running("cat", stdin=reader, stdout=subprocess.DEVNULL) as process:
            wait = of_kind(process.pid, "pipe_read")
            assert (wait.fd, wait.pipe) == (0, inode_of(writer))
            assert short_text(wait, {}, None) == "waits to read"
            assert short_text(wait, {wait.pipe: 2}, None) == "waits to read: pipe 2"
            assert short_text(wait, {}, wait.pipe) == "waits for input"
        with running(*python("import os; os.write(1, b'x' * 1000000)"), stdout=writer) as process:
            wait = of_kind(process.pid, "pipe_write")
            assert (wait.fd, wait.pipe, wait.pending) == (1, inode_of(reader), 1_000_000)
            assert short_text(wait, {wait.pipe: 1}, None) == "waits to write: pipe 1"
    finally:
        os.close(reader)
        os.close(writer)


@KNOWN
def test_fifo_is_a_pipe_with_a_name(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    code = f"import os; os.read(os.open({str(path)!r}, os.O_RDWR), 1)"
    with running(*python(code)) as process:
        wait = of_kind(process.pid, "pipe_read")
        assert wait.pipe is None
        assert str(path) in wait.detail


@KNOWN
def test_parent_waits_for_its_child():
    with running("sh", "-c", "cat; :", stdin=subprocess.PIPE) as process:
        of_kind(process.pid, "child")
    code = "import os\np = os.fork()\nif p == 0: os.read(0, 1)\nelse: print(p, flush=True); os.waitpid(p, 0)"
    with running(*python(code), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert of_kind(process.pid, "child").on_pid == child


@KNOWN
def test_shell_that_waits_by_a_signal_waits_for_a_child():
    with running("sh", "-c", "exec 3<&0; cat <&3 & wait", stdin=subprocess.PIPE) as process:
        of_kind(process.pid, "child")


@LINUX
def test_zombie():
    with running("true") as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        wait = wait_of(process.pid)
        assert wait is not None
        assert (wait.kind, short_text(wait, {}, None)) == ("zombie", "has ended")
        process.wait()
        assert wait_of(process.pid) is None


def test_busy_loop_runs():
    with running(*python("while True: pass")) as process:
        of_kind(process.pid, "running")


@LINUX
def test_another_thread_that_runs_counts():
    code = "import threading\ndef busy():\n    while True: pass\nthreading.Thread(target=busy).start()"
    with running(*python(code)) as process:
        settled(process.pid, lambda wait: wait.detail == "runs, in another thread than its first")


@KNOWN
@pytest.mark.parametrize(
    ("name", "kind", "in_words"),
    [
        ("deadlocks", "futex", "has 3 threads that all wait for each other or for locks in memory (futex)"),
        ("waits_for_lock", "file_lock", "waits for the lock on "),
        ("waits_for_socket", "socket_read", "waits for data from a socket (recvfrom)"),
        ("waits_for_terminal", "tty_input", "waits for input from the terminal /dev/pts/"),
    ],
)
def test_kinds_are_told_apart(name, kind, in_words):
    with zoo(name) as (process, _):
        assert in_words in settled(process.pid, lambda wait: wait.kind == kind).detail


@KNOWN
def test_watching_descriptors_is_no_timer():
    for limit in ("30", "None"):
        with running(
            *python(f"import select; select.select([0], [], [], {limit})"), stdin=subprocess.PIPE
        ) as process:
            wait = settled(process.pid, lambda wait: wait.kind == "pipe_read")
            assert (wait.fd, wait.call in ("select", "pselect6")) == (0, True)
            assert wait.has_limit == (limit != "None")
    code = "import select, sys; select.select([0, 2], [], [])"
    with running(*python(code), stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert "without a time limit" in of_kind(process.pid, "event_loop").detail


@LINUX
def test_process_that_stopped_itself():
    with zoo("stops_itself") as (process, _):
        of_kind(process.pid, "suspended")


@LINUX
def test_syscall_that_may_not_be_read_leaves_the_kernel_function(monkeypatch):
    from corral.waits import threads

    real = threads.read_file
    monkeypatch.setattr(threads, "read_file", lambda path: None if path.endswith("/syscall") else real(path))
    with running("sleep", "30") as process:
        settled(process.pid, lambda wait: wait.kind in ("timer", "unknown") and wait.state == "S")
    monkeypatch.setattr(
        threads, "read_file", lambda path: None if path.endswith(("/syscall", "/wchan")) else real(path)
    )
    with running("sleep", "30") as process:
        wait = settled(process.pid, lambda wait: wait.state == "S")
        assert (wait.kind, wait.detail) == (
            "unknown",
            "sleeps; what it waits for cannot be seen",
        )
        assert wait.reason is not None
        assert "does not show its system call" in wait.reason


def test_system_without_proc_says_so(monkeypatch):
    from corral.waits import process_wait

    monkeypatch.setattr(process_wait, "HAS_PROCFS", False)
    with running("sleep", "30") as process:
        wait = settled(process.pid, lambda wait: wait.state == "S")
        assert wait.kind == "unknown"
        assert wait.reason == "this system does not tell what a process waits for (it has no /proc)"


def test_forms_of_the_syscall_file():
    assert parse_syscall(b"running\n") == "running"
    assert parse_syscall(b"-1 0x7ffd 0x7f1c\n") is None
    assert parse_syscall(b"") is None
    assert parse_syscall(b"0 1 2 3 4 5 6 7 zz") is None
    call = parse_syscall(b"0 0x3 0x10 0x0 0x0 0x0 0xffffffffffffffff 0x7ffd00000000 0x7f1c\n")
    assert call == Call(0, (3, 16, 0, 0, 0, (1 << 64) - 1), 0x7FFD00000000)


def test_numbers_of_a_32_bit_process_are_not_read_as_64_bit(monkeypatch):
    monkeypatch.setattr(syscalls, "_TABLE", syscalls._X86_64)
    assert Call(7, (0,) * 6, 0x7FFD00000000).name == "poll"
    assert Call(7, (0,) * 6, 0xFFD0_0000).name is None


@given(st.binary(max_size=80))
def test_any_content_of_the_syscall_file_is_survived(text):
    parse_syscall(text)


@given(st.integers(-(2**31), 2**31 - 1))
def test_registers_hold_signed_numbers(number):
    assert signed(number & 0xFFFFFFFF) == signed(number & 0xFFFFFFFFFFFFFFFF) == number


@given(
    st.sampled_from([*sorted(set(syscalls._X86_64.values()) | set(syscalls._AARCH64.values())), None]),
    st.tuples(*[st.integers(0, 2**64 - 1)] * 6),
    st.sampled_from([None, "pipe_read", "anon_pipe_write", "do_wait", "hrtimer_nanosleep", "futex_do_wait"]),
)
def test_every_call_has_a_meaning_in_words(call, arguments, wchan):
    meaning = meaning_of(call, arguments, wchan)
    assert meaning.detail or meaning.kind in ("pipe_read", "pipe_write") or call is None


def test_splice_waits_on_the_side_that_the_kernel_names():
    arguments = (5, 0, 7, 0, 0, 0)
    assert meaning_of("splice", arguments, "pipe_wait_readable")[:3:2] == ("pipe_read", 5)
    assert meaning_of("splice", arguments, "pipe_wait_writable")[:3:2] == ("pipe_write", 7)
    assert meaning_of("splice", arguments, None).kind == "unknown"


def test_wait_has_lasted_since_it_was_first_seen():
    clock, start = WaitClock(), datetime.now(UTC)
    wait = ProcessWait(2**22 + 1, "x", "S", "pipe_read", "waits", fd=0, pipe=7)
    assert clock.since(wait, start) == start
    assert clock.since(wait, start + timedelta(seconds=5)) == start
    later = start + timedelta(seconds=9)
    assert clock.since(wait._replace(pipe=8), later) == later
    clock.forget(wait.pid)
    assert clock.since(wait._replace(pipe=8), later + timedelta(seconds=1)) > later


@LINUX
@pytest.mark.parametrize("folder", ["None", "os.open('..', 0)"])
def test_relative_path_of_a_fifo_is_made_absolute(tmp_path, folder):
    (tmp_path / "sub").mkdir()
    for place in (tmp_path, tmp_path / "sub"):
        os.mkfifo(place / "fifo")
    with running(*python(f"import os; os.open('fifo', 0, dir_fd={folder})"), cwd=tmp_path / "sub") as opens:
        wait = settled(opens.pid, lambda wait: wait.file is not None)
        assert wait.file is not None
        assert wait.file.name == str((tmp_path / "sub" if folder == "None" else tmp_path) / "fifo")


@KNOWN
def test_where_the_first_thread_waits_for_a_signal_another_one_tells():
    """dig does so: its first thread waits to be told to end."""
    code = (
        "import os, signal, threading\nr, w = os.pipe()\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})\n"
        "threading.Thread(target=os.read, args=(r, 1), daemon=True).start()\n"
        "signal.sigwait({signal.SIGTERM})"
    )
    with running(*python(code)) as process:
        assert of_kind(process.pid, "pipe_read").threads == 2


@KNOWN
def test_the_thread_of_java_that_answers_jcmd_is_no_server():
    code = (
        "import ctypes, os, socket, threading\nr, w = os.pipe()\nserver = socket.create_server(('127.0.0.1', 0))\n"
        "def answers():\n    ctypes.CDLL(None).prctl(15, b'Attach Listener'); server.accept()\n"
        "threading.Thread(target=answers, daemon=True).start()\n"
        "threading.Thread(target=os.read, args=(r, 1)).start()"
    )
    with running(*python(code)) as process:
        assert of_kind(process.pid, "pipe_read").threads == 3
