"""The threads of one process, each with the call it is blocked in, and which of them tells what the process waits for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from corral.platform.host.procfs import Stat, parse_stat, read_file
from corral.platform.inspect.syscalls import Call, parse_syscall
from corral.waits.syscall_meanings import Meaning, meaning_of

THREADS_LOOKED_AT = 256
_ORDER = {"socket_accept": 0, "event_loop": 0, "unknown": 2, "timer": 3, "child": 4, "futex": 5}
"""Of several threads, the one that can be woken from outside tells: a server first. Other kinds stand between."""
_SIGNAL_WAITS = frozenset({"pause", "rt_sigsuspend", "rt_sigtimedwait"})
"""What the first thread does where others do the work, and it waits for the signal to end, as in dig."""


_ANSWERS_JCMD = "Attach Listener"
"""The thread of a Java program that waits for jcmd and jstack, since one of them asked first. That is nobody's server."""


class ThreadWait(NamedTuple):
    """One thread at this moment. `call` is its system call, `hidden`: the kernel does not let us see it."""

    tid: int
    state: str
    meaning: Meaning
    call: Call | None = None
    wchan: str | None = None
    hidden: bool = False

    @property
    def call_name(self) -> str | None:
        return self.call.name if self.call else None


_RUNS = Meaning("running", "runs")


def first_thread(stat: Stat) -> ThreadWait:
    """The thread whose id is the process's."""
    return _look(f"/proc/{stat.pid}", stat.pid, stat.state)


def other_threads(pid: int, most: int = THREADS_LOOKED_AT) -> list[ThreadWait]:
    """All but the first, and of many only some; without those that ended meanwhile."""
    try:
        names = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    found = []
    for name in names[:most]:
        line = read_file(f"/proc/{pid}/task/{name}/stat") if int(name) != pid else None
        stat = parse_stat(line) if line else None
        if stat is not None and stat.name != _ANSWERS_JCMD:
            found.append(_look(f"/proc/{pid}/task/{name}", int(name), stat.state))
    return found


def _look(folder: str, tid: int, state: str) -> ThreadWait:
    if state == "R":
        return ThreadWait(tid, state, _RUNS)
    text = read_file(f"{folder}/syscall")
    call = parse_syscall(text) if text else None
    if call == "running":
        return ThreadWait(tid, "R", _RUNS)
    wchan = _wchan(folder)
    meaning = meaning_of(call.name if call else None, call.arguments if call else (), wchan)
    return ThreadWait(tid, state, meaning, call, wchan, hidden=text is None)


def _wchan(folder: str) -> str | None:
    """The kernel function it sleeps in; `0` stands there for none, or where it may not be known."""
    text = read_file(f"{folder}/wchan")
    name = text.decode("ascii", "replace").partition(".")[0] if text else ""
    return name if name not in ("", "0") else None


def ranked_threads(first: ThreadWait, others: Sequence[ThreadWait]) -> list[ThreadWait]:
    """The threads in the order in which they tell what their process waits for; at least one.

    One that runs; else the first thread, as long as it does not just wait for another one; then those that something
    outside the process can wake.
    """
    for thread in (first, *others):
        if thread.meaning.kind == "running":
            return [thread]
    alive = sorted((thread for thread in others if thread.state not in "ZX"), key=_order)
    if first.call_name in _SIGNAL_WAITS and first.state not in "ZX":
        return sorted([first, *alive], key=_order)
    if first.meaning.kind not in ("futex", "zombie") and first.state not in "ZX":
        return [first, *alive]
    return alive or [first]


def _order(thread: ThreadWait) -> tuple[int, int]:
    return _ORDER.get(thread.meaning.kind, 1), thread.tid
