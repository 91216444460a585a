"""What a blocked system call waits for, from its name, its arguments and the kernel function it sleeps in. Pure."""

from __future__ import annotations

import os
from typing import NamedTuple

from corral.model.reports import WaitKind
from corral.platform.inspect.syscalls import signed

P_PID = 1
"""waitid(2): the second argument is a pid."""
LOCK_COMMANDS = (7, 38)
"""F_SETLKW and F_OFD_SETLKW (fcntl(2))."""

_READS = frozenset({"read", "readv", "pread64", "preadv", "preadv2"})
_WRITES = frozenset({"write", "writev", "pwrite64", "pwritev", "pwritev2"})
_WRITES_SECOND = {"splice": 2, "tee": 1, "sendfile": 0, "vmsplice": 0, "copy_file_range": 2}
"""Which argument is the descriptor written to."""
_READS_FIRST = {"splice": 0, "tee": 0, "sendfile": 1, "vmsplice": 0, "copy_file_range": 0}
_SOCKET_CALLS: dict[str, tuple[WaitKind, str]] = {
    "accept": ("socket_accept", "waits for a connection"),
    "accept4": ("socket_accept", "waits for a connection"),
    "connect": ("socket_connect", "waits to be connected"),
    "recvfrom": ("socket_read", "waits for data from a socket"),
    "recvmsg": ("socket_read", "waits for data from a socket"),
    "recvmmsg": ("socket_read", "waits for data from a socket"),
    "sendto": ("socket_write", "waits to send to a socket"),
    "sendmsg": ("socket_write", "waits to send to a socket"),
    "sendmmsg": ("socket_write", "waits to send to a socket"),
}
_SIGNAL_WAITS = frozenset({"pause", "rt_sigsuspend", "rt_sigtimedwait"})
_OPENS = {"open": 1, "openat": 2, "openat2": None}
"""Which argument holds the flags; those of openat2(2) stand in memory."""
_IN_WORDS = {
    "open": "waits for a file to open",
    "openat": "waits for a file to open",
    "openat2": "waits for a file to open",
    "msgrcv": "waits for a message",
    "msgsnd": "waits for room in a message queue",
    "mq_timedreceive": "waits for a message",
    "semop": "waits for a semaphore",
    "semtimedop": "waits for a semaphore",
    "io_uring_enter": "waits for its queue of I/O",
    "io_getevents": "waits for its queue of I/O",
}
_TIMERS = frozenset({"nanosleep", "clock_nanosleep"})
_CLOCK_IDS = 16
"""Clock ids are small numbers, where nanosleep, poll and futex have an address first."""
_FUTEX_COMMANDS = 0x7F
_FUTEX_PRIVATE = 0x80
_FUTEX_WAITERS = 0x80000000
_FUTEX_WAIT, _FUTEX_LOCK_PI, _FUTEX_WAIT_BITSET, _FUTEX_LOCK_PI2 = 0, 6, 9, 13
"""futex(2)."""

_KERNEL_FUNCTIONS: dict[str, tuple[WaitKind, str]] = {
    "hrtimer_nanosleep": ("timer", "waits for a timer"),
    "do_wait": ("child", "waits for a child"),
    "pipe_read": ("pipe_read", ""),
    "anon_pipe_read": ("pipe_read", ""),
    "fifo_pipe_read": ("pipe_read", ""),
    "pipe_wait_readable": ("pipe_read", ""),
    "pipe_write": ("pipe_write", ""),
    "anon_pipe_write": ("pipe_write", ""),
    "fifo_pipe_write": ("pipe_write", ""),
    "pipe_wait_writable": ("pipe_write", ""),
    "futex_wait_queue": ("futex", "waits for another thread or a lock in memory"),
    "futex_wait_queue_me": ("futex", "waits for another thread or a lock in memory"),
    "futex_do_wait": ("futex", "waits for another thread or a lock in memory"),
    "ep_poll": ("event_loop", "watches its descriptors"),
    "do_epoll_wait": ("event_loop", "watches its descriptors"),
    "inet_csk_accept": ("socket_accept", "waits for a connection"),
    "unix_accept": ("socket_accept", "waits for a connection"),
    "unix_stream_read_generic": ("socket_read", "waits for data from a unix socket"),
    "unix_stream_data_wait": ("socket_read", "waits for data from a unix socket"),
    "sk_wait_data": ("socket_read", "waits for data from a socket"),
    "sk_stream_wait_memory": ("socket_write", "waits to send to a socket"),
    "inet_wait_for_connect": ("socket_connect", "waits to be connected"),
    "locks_lock_inode_wait": ("file_lock", "waits for a file lock"),
    "flock_lock_inode_wait": ("file_lock", "waits for a file lock (flock)"),
    "n_tty_read": ("tty_input", "waits for input from a terminal"),
    "wait_for_partner": ("pipe_read", "waits for the other end of a FIFO to be opened"),
}
"""Where the call may not be read. Names of functions are no contract, so what is not listed stays unknown."""


AT_FDCWD = -100
"""In place of a descriptor: the directory of the process itself (openat(2))."""


class Meaning(NamedTuple):
    """`detail` is empty where there are no words for it. A `pipe_*` is one only if `fd` turns out to be a pipe.

    `pending` is the length of a write(2), which counts as written only when all of it is; 0 for other calls.
    `addresses` is where its path, its lock or its lists of descriptors stand in memory, `length` how long those are.
    `folder` is the descriptor of the directory that a relative path starts at. `has_limit`: it goes on by itself after a time. `shared` is the address of a lock in memory that other processes may
    share.
    """

    kind: WaitKind
    detail: str = ""
    fd: int | None = None
    on_pid: int | None = None
    pending: int = 0
    addresses: tuple[int, ...] = ()
    length: int = 0
    has_limit: bool = False
    folder: int = AT_FDCWD
    shared: int | None = None


_TIMER = Meaning("timer", "waits for a timer", has_limit=True)


def meaning_of(call: str | None, arguments: tuple[int, ...], wchan: str | None) -> Meaning:
    """The meaning of being blocked in `call`; `wchan` helps where the call is not known or ambiguous."""
    if call is None:
        kind, detail = _KERNEL_FUNCTIONS.get(wchan or "", ("unknown", ""))
        return Meaning(kind, detail, has_limit=kind == "timer")
    if call in _READS:
        return Meaning("pipe_read", fd=signed(arguments[0]))
    if call in _WRITES:
        return Meaning("pipe_write", fd=signed(arguments[0]), pending=arguments[2] if call == "write" else 0)
    if call in _WRITES_SECOND:
        return _moving(call, arguments, wchan)
    if call in _TIMERS:
        return _TIMER
    if call in _SOCKET_CALLS:
        kind, words = _SOCKET_CALLS[call]
        return Meaning(kind, f"{words} ({call})", fd=signed(arguments[0]))
    if call in ("wait4", "waitid"):
        return _child(call, arguments)
    if call in ("poll", "ppoll", "select", "pselect6") or call.startswith("epoll_"):
        return _watching(call, arguments)
    if call == "restart_syscall":
        return _restarted(arguments, wchan)
    return _locking(call, arguments, wchan)


def _locking(call: str, arguments: tuple[int, ...], wchan: str | None) -> Meaning:
    if call == "flock" or (call == "fcntl" and arguments[1] in LOCK_COMMANDS):
        return Meaning("file_lock", f"waits for a file lock ({call})", fd=signed(arguments[0]))
    if call in ("futex", "futex_waitv"):
        return _futex(call, arguments)
    if call in _OPENS and wchan == "wait_for_partner":
        return _opening(call, arguments)
    if call in _SIGNAL_WAITS:
        has_limit = call == "rt_sigtimedwait" and bool(arguments[2])
        return Meaning("unknown", f"waits for a signal ({call})", has_limit=has_limit)
    return Meaning("unknown", f"{_IN_WORDS[call]} ({call})" if call in _IN_WORDS else f"waits in {call}")


def _futex(call: str, arguments: tuple[int, ...]) -> Meaning:
    """The fourth argument points to the time limit, for the operations that have one."""
    if call == "futex_waitv":
        return Meaning("futex", "waits for another thread (futex_waitv)", has_limit=bool(arguments[3]))
    operation = arguments[1] & _FUTEX_COMMANDS
    has_limit = operation in (_FUTEX_WAIT, _FUTEX_WAIT_BITSET, _FUTEX_LOCK_PI, _FUTEX_LOCK_PI2) and bool(
        arguments[3]
    )
    if has_limit:
        return Meaning("timer", "waits for another thread, with a time limit (futex)", has_limit=True)
    is_mutex = operation == _FUTEX_WAIT and bool(arguments[2] == 2 or arguments[2] & _FUTEX_WAITERS)
    return Meaning(
        "futex",
        "waits for another thread or a lock in memory (futex)",
        addresses=arguments[:1] if is_mutex else (),
        shared=None if arguments[1] & _FUTEX_PRIVATE else arguments[0],
    )


def _opening(call: str, arguments: tuple[int, ...]) -> Meaning:
    """open(2) of a FIFO waits until somebody opens the other end (fifo(7))."""
    place = _OPENS[call]
    flags = arguments[place] & os.O_ACCMODE if place is not None else os.O_RDONLY
    kind: WaitKind = "pipe_write" if flags == os.O_WRONLY else "pipe_read"
    path, folder = (arguments[0], AT_FDCWD) if call == "open" else (arguments[1], signed(arguments[0]))
    return Meaning(
        kind, f"waits for the other end of a FIFO to be opened ({call})", addresses=(path,), folder=folder
    )


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

    A finite limit alone is no proof of a timer: a server that polls once a second waits for its clients.
    """
    if call.startswith("epoll_"):
        limit = signed(arguments[3]) if call != "epoll_pwait2" else _pointer(arguments[3])
        words = f"watches its descriptors{_limit(limit)} ({call})"
        return Meaning("event_loop", words, fd=signed(arguments[0]), has_limit=limit is None or limit >= 0)
    if call in ("poll", "ppoll"):
        count, sets, is_any = arguments[1], arguments[:1], bool(arguments[1])
        limit = signed(arguments[2]) if call == "poll" else _pointer(arguments[2])
    else:
        # nfds of select is the highest descriptor and one; how many are in the sets stands in its memory.
        count, sets, is_any = arguments[0], arguments[1:4], any(arguments[1:4])
        limit = _pointer(arguments[4])
    has_limit = limit is None or limit >= 0
    if is_any:
        words = f"watches {descriptor_count(call, count)}{_limit(limit)} ({call})"
        return Meaning("event_loop", words, addresses=sets, length=count, has_limit=has_limit)
    return _TIMER if has_limit else Meaning("unknown", f"waits for a signal ({call})")


def descriptor_count(call: str, count: int) -> str:
    """`4 descriptors`; for select, of which the count tells nothing, only `descriptors`."""
    if call in ("select", "pselect6"):
        return "descriptors"
    return "1 descriptor" if count == 1 else f"{count} descriptors"


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
        "unknown",
        "goes on with a wait that has a time limit, after it was suspended (restart_syscall)",
        has_limit=True,
    )
