"""What a blocked system call waits for, from its name, its arguments and the kernel function it sleeps in. Pure."""

from __future__ import annotations

from typing import NamedTuple

from corral.system.syscalls import signed
from corral.values.reports import WaitKind

P_PID = 1
"""waitid(2): the second argument is a pid."""
LOCK_COMMANDS = (7, 38)
"""F_SETLKW and F_OFD_SETLKW (fcntl(2))."""

_READS = frozenset({"read", "readv", "pread64", "preadv", "preadv2"})
_WRITES = frozenset({"write", "writev", "pwrite64", "pwritev", "pwritev2"})
_WRITES_SECOND = {"splice": 2, "tee": 1, "sendfile": 0, "vmsplice": 0, "copy_file_range": 2}
"""Which argument is the descriptor written to."""
_READS_FIRST = {"splice": 0, "tee": 0, "sendfile": 1, "vmsplice": 0, "copy_file_range": 0}
_IN_WORDS = {
    "futex": "waits for another thread or a lock in memory",
    "futex_waitv": "waits for another thread or a lock in memory",
    "accept": "waits for a connection",
    "accept4": "waits for a connection",
    "connect": "waits to be connected",
    "recvfrom": "waits for data from a socket",
    "recvmsg": "waits for data from a socket",
    "recvmmsg": "waits for data from a socket",
    "sendto": "waits to send to a socket",
    "sendmsg": "waits to send to a socket",
    "sendmmsg": "waits to send to a socket",
    "flock": "waits for a file lock",
    "pause": "waits for a signal",
    "rt_sigsuspend": "waits for a signal",
    "rt_sigtimedwait": "waits for a signal",
    "open": "waits for a file to open",
    "openat": "waits for a file to open",
    "openat2": "waits for a file to open",
    "msgrcv": "waits for a message",
    "mq_timedreceive": "waits for a message",
    "semop": "waits for a semaphore",
    "semtimedop": "waits for a semaphore",
    "io_uring_enter": "waits for its queue of I/O",
    "io_getevents": "waits for its queue of I/O",
}
_TIMERS = frozenset({"nanosleep", "clock_nanosleep"})
_CLOCK_IDS = 16
"""Clock ids are small numbers, where nanosleep, poll and futex have an address first."""


class Meaning(NamedTuple):
    """`detail` is empty where there are no words for it. A `pipe_*` is one only if `fd` turns out to be a pipe.

    `pending` is the length of a write(2), which counts as written only when all of it is; 0 for other calls.
    """

    kind: WaitKind
    detail: str = ""
    fd: int | None = None
    on_pid: int | None = None
    pending: int = 0


_TIMER = Meaning("timer", "waits for a timer")


def meaning_of(call: str | None, arguments: tuple[int, ...], wchan: str | None) -> Meaning:
    """The meaning of being blocked in `call`; `wchan` helps where the call is not known or ambiguous."""
    if call is None:
        return _by_kernel_function(wchan)
    if call in _READS:
        return Meaning("pipe_read", fd=signed(arguments[0]))
    if call in _WRITES:
        return Meaning("pipe_write", fd=signed(arguments[0]), pending=arguments[2] if call == "write" else 0)
    if call in _WRITES_SECOND:
        return _moving(call, arguments, wchan)
    if call in _TIMERS:
        return _TIMER
    if call in ("wait4", "waitid"):
        return _child(call, arguments)
    if call in ("poll", "ppoll", "select", "pselect6") or call.startswith("epoll_"):
        return _watching(call, arguments)
    if call == "restart_syscall":
        return _restarted(arguments, wchan)
    if call == "fcntl" and arguments[1] in LOCK_COMMANDS:
        return Meaning("unknown", "waits for a file lock (fcntl)")
    if wchan == "wait_for_partner":
        return Meaning("unknown", f"waits for the other end of a FIFO to be opened ({call})")
    return Meaning("unknown", f"{_IN_WORDS[call]} ({call})" if call in _IN_WORDS else f"waits in {call}")


def _by_kernel_function(wchan: str | None) -> Meaning:
    """For a call that may not be read or is not listed. Function names are no contract, so few are relied on."""
    if wchan is None:
        return Meaning("unknown")
    if wchan == "hrtimer_nanosleep":
        return _TIMER
    if wchan == "do_wait":
        return Meaning("child", "waits for a child")
    if wchan in ("pipe_read", "anon_pipe_read", "fifo_pipe_read", "pipe_wait_readable"):
        return Meaning("pipe_read")
    if wchan in ("pipe_write", "anon_pipe_write", "fifo_pipe_write", "pipe_wait_writable"):
        return Meaning("pipe_write")
    return Meaning("unknown")


def _moving(call: str, arguments: tuple[int, ...], wchan: str | None) -> Meaning:
    """splice(2) and its kin wait on either side; the kernel function tells on which."""
    if wchan is not None and "writ" in wchan:
        return Meaning("pipe_write", fd=signed(arguments[_WRITES_SECOND[call]]))
    if wchan is not None and "read" in wchan:
        return Meaning("pipe_read", fd=signed(arguments[_READS_FIRST[call]]))
    return Meaning("unknown", f"waits to move data between two descriptors ({call})")


def _child(call: str, arguments: tuple[int, ...]) -> Meaning:
    is_named = call == "wait4" or arguments[0] == P_PID
    pid = signed(arguments[0] if call == "wait4" else arguments[1]) if is_named else 0
    if pid > 0:
        return Meaning("child", f"waits for its child {pid}", on_pid=pid)
    return Meaning("child", "waits for a child")


def _watching(call: str, arguments: tuple[int, ...]) -> Meaning:
    """poll, select and epoll. Watching nothing with a time limit is a sleep; anything else may be woken by either.

    A finite limit alone is no proof of a timer: a server that looks round once a second waits for its clients.
    """
    if call.startswith("epoll_"):
        limit = signed(arguments[3]) if call != "epoll_pwait2" else _pointer(arguments[3])
        return Meaning("unknown", f"watches its descriptors{_limit(limit)} ({call})")
    if call in ("poll", "ppoll"):
        count = arguments[1]
        limit = signed(arguments[2]) if call == "poll" else _pointer(arguments[2])
    else:
        # nfds of select is the highest descriptor and one; how many are in the sets stands in its memory.
        count = 1 if any(arguments[1:4]) else 0
        limit = _pointer(arguments[4])
    if count:
        noun = "descriptors" if count > 1 or call in ("select", "pselect6") else "descriptor"
        number = "" if call in ("select", "pselect6") else f"{count} "
        return Meaning("unknown", f"watches {number}{noun}{_limit(limit)} ({call})")
    return _TIMER if limit is None or limit >= 0 else Meaning("unknown", f"waits for a signal ({call})")


def _pointer(register: int) -> int | None:
    """A time limit given by address: -1 for a null pointer, none at all; None for one whose length is not read."""
    return None if register else -1


def _limit(milliseconds: int | None) -> str:
    if milliseconds is None:
        return " with a time limit"
    return " without a time limit" if milliseconds < 0 else f" for at most {milliseconds / 1000:g} s"


def _restarted(arguments: tuple[int, ...], wchan: str | None) -> Meaning:
    """restart_syscall(2): a wait with a time limit that goes on after SIGSTOP and SIGCONT.

    It keeps the registers of the first call, and clock_nanosleep alone has a small number first. The kernel function
    then reads `do_syscall_64` (6.18).
    """
    if wchan == "hrtimer_nanosleep" or (arguments[0] < _CLOCK_IDS and arguments[1] == 0):
        return _TIMER
    return Meaning(
        "unknown", "goes on with a wait that has a time limit, after it was suspended (restart_syscall)"
    )
