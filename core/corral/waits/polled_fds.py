"""What a process waits for that watches descriptors: by poll, select or epoll.

Much of what programs watch is there to wake them from within: an eventfd, the two ends of one pipe. Without that, a
process that watches one thing waits for it; one that watches several may be woken by any of them.
"""

from __future__ import annotations

from typing import NamedTuple

from corral.model.reports import WaitKind
from corral.platform.host.procfs import read_stat
from corral.platform.inspect.fdinfo import (
    PolledDescriptor,
    catches_end_of_child,
    children_of,
    hears_of_children,
    is_armed,
    watched_by_epoll,
)
from corral.platform.inspect.open_files import OpenFile, descriptors_of, modes, open_file
from corral.platform.inspect.process_memory import read_fd_set, read_pollfds
from corral.platform.inspect.sock_diag import unix_peer
from corral.platform.inspect.sockets import is_nameless, role_of
from corral.waits.syscall_meanings import Meaning, descriptor_count

MOST_WATCHED = 64
"""What watches more is a server."""
_WAKERS = frozenset({"eventfd", "timerfd", "signalfd"})
_FOLLOWED = frozenset({"pipe", "fifo", "socket", "pidfd", "master"})
"""Files whose other side is a process."""


class PolledWait(NamedTuple):
    """What the process waits for in the end.

    `file` is the one thing that it waits for, of an event loop None. `several` are the things of which any wakes an
    event loop, where a process stands behind each; empty for a server. `is_within`: nothing but the process itself, a
    signal or a time can wake it.
    """

    kind: WaitKind
    detail: str
    file: OpenFile | None = None
    several: tuple[tuple[OpenFile, bool], ...] = ()
    is_within: bool = False


class _Seen(NamedTuple):
    file: OpenFile
    reads: bool
    writes: bool


def polled_wait(pid: int, call: str | None, meaning: Meaning) -> PolledWait:
    """What `pid` waits for in a call that watches descriptors. About 10 µs each."""
    plain = PolledWait("event_loop", meaning.detail)
    watched = _watched(pid, call, meaning)
    if watched is None:
        return plain
    if meaning.length and call is not None:
        told = meaning.detail.replace(
            descriptor_count(call, meaning.length), descriptor_count(call, len(watched))
        )
        plain = plain._replace(detail=told)
    seen = [
        _Seen(file, one.reads, one.writes) for one in watched if (file := open_file(pid, one.fd)) is not None
    ]
    if any(one.file.kind == "timerfd" and is_armed(pid, one.file.fd) for one in seen):
        return plain._replace(kind="timer", detail=f"waits for a timer ({call})")
    outside = _outside(pid, seen)
    has_master = any(one.file.kind == "master" for one in outside)
    if has_master:
        # script(1), screen and ssh -t pass on what is typed to the program behind the other terminal.
        outside = [one for one in outside if one.file.kind != "terminal"]
    hears = any(one.file.kind == "signalfd" and hears_of_children(pid, one.file.fd) for one in seen)
    if not outside:
        return _from_within(pid, call, meaning, hears=hears)
    if len(outside) == 1 and not hears:
        return _on_one(pid, call, outside[0]) or plain
    if has_master or all(_is_followed(pid, one) for one in outside):
        return plain._replace(several=tuple((one.file, one.reads) for one in outside))
    return plain


def _watched(pid: int, call: str | None, meaning: Meaning) -> list[PolledDescriptor] | None:
    """The descriptors; None where they cannot be read."""
    if call is None or meaning.length > MOST_WATCHED:
        return None
    if call.startswith("epoll_"):
        return None if meaning.fd is None else watched_by_epoll(pid, meaning.fd, MOST_WATCHED)
    if not meaning.addresses:
        return None
    if call in ("poll", "ppoll"):
        return read_pollfds(pid, meaning.addresses[0], meaning.length)
    reads, writes = (read_fd_set(pid, place, meaning.length) for place in meaning.addresses[:2])
    if reads is None or writes is None:
        return None
    return [PolledDescriptor(fd, fd in reads, fd in writes) for fd in sorted({*reads, *writes})]


def _outside(pid: int, seen: list[_Seen]) -> list[_Seen]:
    """Those that are not there to wake it from within."""
    rest = [one for one in seen if one.file.kind not in _WAKERS]
    if not any(one.file.kind in ("pipe", "socket") for one in rest):
        return rest
    own = _by_file(pid)
    rest = [one for one in rest if not _has_both_ends(one.file, own)]
    if len(seen) < 2 or not any(one.file.kind == "pipe" for one in rest):
        return rest
    told = [one for one in rest if not _is_lifeline(one.file)]
    return told if told or len(rest) < len(seen) else rest


def _by_file(pid: int) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for fd, link in descriptors_of(pid):
        found.setdefault(link, []).append(fd)
    return found


def _is_lifeline(file: OpenFile) -> bool:
    """A pipe that tells a child of the end of its parent, beside what it waits for, and is never written to.

    The parent has kept both ends, as the one of PostgreSQL does: a sender closes the other end.
    """
    if file.kind != "pipe":
        return False
    stat = read_stat(file.pid)
    ends = [] if stat is None else [modes(stat.ppid, fd) for fd in _by_file(stat.ppid).get(file.name, ())]
    return any(reads for reads, _ in ends) and any(writes for _, writes in ends)


def _has_both_ends(file: OpenFile, own: dict[str, list[int]]) -> bool:
    """A pipe or a pair of unix sockets of which it has the other end itself."""
    if file.kind == "pipe":
        return any(modes(file.pid, fd)[1] for fd in own.get(file.name, ()) if fd != file.fd)
    if file.kind != "socket" or file.inode is None:
        return False
    peer = unix_peer(file.inode)
    if peer is None:
        # In another network namespace nobody tells. Two that are made at once have numbers in a row (socketpair(2)).
        near = [inode for inode in (file.inode - 1, file.inode + 1) if f"socket:[{inode}]" in own]
        return bool(near) and all(is_nameless(file.pid, inode) for inode in (file.inode, near[0]))
    return peer != 0 and f"socket:[{peer}]" in own


def _from_within(pid: int, call: str | None, meaning: Meaning, *, hears: bool) -> PolledWait:
    if meaning.has_limit:
        return PolledWait("timer", f"waits for a timer ({call})", is_within=True)
    if (hears or catches_end_of_child(pid)) and children_of(pid):
        return PolledWait("child", f"waits for a child (by its signal, {call})")
    return PolledWait("event_loop", f"waits to be woken by its own process ({call})", is_within=True)


def _on_one(pid: int, call: str | None, one: _Seen) -> PolledWait | None:
    """The one thing that it watches; None for a server, or what is nobody's to give."""
    file = one.file
    named = f"(fd {file.fd}, {call})"
    if file.kind == "terminal":
        return PolledWait("tty_input", f"waits for input from the terminal {file.name} {named}", file)
    if file.kind in ("pipe", "fifo"):
        verb = "read from" if one.reads else "write to"
        called = "a pipe" if file.kind == "pipe" else f"the FIFO {file.name}"
        kind: WaitKind = "pipe_read" if one.reads else "pipe_write"
        return PolledWait(kind, f"waits to {verb} {called} {named}", file)
    role = role_of(pid, file.inode) if file.kind == "socket" and file.inode is not None else None
    if role == "connects":
        return PolledWait("socket_connect", f"waits to be connected {named}", file)
    if role == "talks":
        # There is always room where the other side reads, so a process that watches for both waits for that.
        if one.writes:
            return PolledWait("socket_write", f"waits to write to a socket {named}", file)
        return PolledWait("socket_read", f"waits to read from a socket {named}", file)
    if file.kind == "inotify":
        return PolledWait("event_loop", f"waits for files to change {named}", file)
    if file.kind in ("pidfd", "master"):
        return PolledWait("event_loop", f"watches {file.kind} {named}", None, ((file, True),))
    return None


def _is_followed(pid: int, one: _Seen) -> bool:
    if one.file.kind == "socket":
        return one.file.inode is not None and role_of(pid, one.file.inode) in ("talks", "connects")
    return one.file.kind in _FOLLOWED
