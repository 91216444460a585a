"""The wait graph of a job: which process waits for which, and where each chain of waits ends. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from corral.diagnosis import deadlock
from corral.model.job import Job
from corral.waits.holders import WaitHolders
from corral.waits.process_wait import ProcessWait

SERVES = ("socket_accept", "event_loop")
"""Kinds of an idle server: fine by itself, no comfort to a process that waits for its answer."""
_CAN_NEVER_MOVE = ("pipe_read", "pipe_write", "file_lock", "child", "socket_read", "futex")
"""Waits that only the processes they are for can end."""

_ASKS = ("socket_read", "socket_write", "event_loop")
_KEEPS = (*SERVES, "timer", "unknown")
OUTSIDE_STILL_SHARE = 0.7
"""The share of `stuck_after` for which somebody else's process has to be still. It is looked at a little later than the job."""


class Observations(NamedTuple):
    """What was seen of one job's processes at one moment.

    `waits`: the stages' own processes and, where the tree was looked at, the others. `stages`: pid to the stage it
    descends from. `pipes`: inode of a pipe between two stages to its number. `input_pipe`: inode of the pipe that is the
    job's stdin, for an interactive job or one fed by another. `parents`: pid to parent pid. `since`: pid to the
    beginning of its wait. `holders`: pid to who can end its wait; `outside`: the waits of those that are not of the job,
    `idle_seconds` for how many seconds such a one was not seen to use the CPU, and `jobs` which other job of ours it belongs to. `moved`: those that used CPU while one after the other was
    looked at, so that their waits were not all true at one moment. `polling`: those that only poll again and
    again, by a timer, while their job makes no progress. `still`: pid to seconds of those that have stood still for as long as a stuck job has. `daemon` is this daemon, to which a job may speak. `cuts`: what was not looked at, because there is
    too much of it.
    """

    waits: tuple[ProcessWait, ...]
    stages: Mapping[int, int] = {}
    pipes: Mapping[int, int] = {}
    input_pipe: int | None = None
    parents: Mapping[int, int] = {}
    since: Mapping[int, datetime] = {}
    holders: Mapping[int, WaitHolders] = {}
    outside: tuple[ProcessWait, ...] = ()
    idle_seconds: Mapping[int, float] = {}
    jobs: Mapping[int, str] = {}
    moved: frozenset[int] = frozenset()
    polling: frozenset[int] = frozenset()
    still: Mapping[int, float] = {}
    daemon: int | None = None
    cuts: tuple[str, ...] = ()


class Chain(NamedTuple):
    """The waits from one stage's process to where they end. `cycle` holds the pids of a ring, empty where there is none."""

    steps: tuple[ProcessWait, ...]
    cycle: tuple[int, ...] = ()

    @property
    def end(self) -> ProcessWait:
        return self.steps[-1]


class WaitGraph:
    """The waits of one job, as a graph. A process waits for any one of several others to move."""

    def __init__(self, job: Job, seen: Observations) -> None:
        self.job = job
        self.seen = seen
        self.own = {wait.pid: wait for wait in seen.waits}
        self.waits = {wait.pid: wait for wait in (*seen.outside, *seen.waits)}
        self.leaders = {stage.number: stage.pid for stage in job.stages if stage.pid in self.own}
        self._children: dict[int, list[int]] = {}
        for pid, parent in seen.parents.items():
            if pid in self.own:
                self._children.setdefault(parent, []).append(pid)
        self._present: dict[tuple[int, ...], tuple[int, ...]] = {}
        self._numbers = {pid: number for number, pid in self.leaders.items()}
        targets = {wait.pid: self._targets(wait) for wait in self.waits.values()}
        self.knot = deadlock.deadlocked(
            {pid: several for pid, several in targets.items() if several and self._is_bound(self.waits[pid])}
        )
        self._after = deadlock.first_to_move(targets, self.waits, self._likelihood)

    # ---- chains

    def chains(self) -> list[Chain]:
        """One for each stage that has a process, in the order of the stages; of a tree without leaders, one for each.

        What sleeps while a child of its own waits for it to read explains the job by that child.
        """
        starts = [self.leaders[number] for number in sorted(self.leaders)] or sorted(self.own)
        found = [self.chain(pid) for pid in starts if pid is not None]
        if all(chain.end.kind != "timer" for chain in found):
            return found
        leaders = set(self.leaders.values())
        writers = [self.chain(p) for p, w in self.own.items() if w.kind == "pipe_write" and p not in leaders]
        unread = {chain.end.pid: chain for chain in writers if chain.end.kind == "timer"}
        return [unread.get(chain.end.pid, chain) for chain in found]

    def chain(self, start: int) -> Chain:
        """Follow the waits from `start`."""
        steps: dict[int, ProcessWait] = {}
        pid: int | None = start
        while pid is not None and pid not in steps:
            steps[pid] = self.waits[pid]
            pid = self.waited_for(steps[pid])
        order = list(steps)
        ring = () if pid is None else tuple(order[order.index(pid) :])
        polls = next((order.index(one) for one in ring if self._polls(steps[one])), None)
        if polls is not None:
            # It will see to what the others want of it when it polls again.
            return Chain(tuple(steps.values())[: polls + 1])
        moved = next((order.index(one) for one in ring if one in self.seen.moved), None)
        if moved is None:
            return Chain(tuple(steps.values()), ring)
        # A process that moved while the others were looked at was seen in a wait that is over: no ring, but work.
        mover = steps[order[moved]]._replace(kind="running", detail="runs", ring=())
        return Chain((*list(steps.values())[:moved], mover))

    def waited_for(self, wait: ProcessWait) -> int | None:
        """The pid of the process that `wait` waits for, the likeliest of several; None where the chain ends here."""
        return self._after.get(wait.pid)

    def _targets(self, wait: ProcessWait) -> tuple[int, ...]:
        """Every process that could end this wait, of those that were looked at; itself among them has no meaning but alone."""
        if wait.kind == "child" or self._polls(wait):
            return self._children_waited_for(wait)
        held = self.seen.holders.get(wait.pid)
        if held is not None and held.pids and not wait.ring:
            several = self._present.get(held.pids)
            if several is None:
                several = tuple(sorted(pid for pid in held.pids if pid in self.waits))
                self._present[held.pids] = several
            return () if several == (wait.pid,) != held.pids else several
        stage = self.stage_at_other_end(wait)
        other = None if stage is None else self._process_of(stage, wait.pid)
        return () if other is None else (other,)

    def _polls(self, wait: ProcessWait) -> bool:
        """Whether it sleeps only until it looks again at the children that it has."""
        return wait.kind == "timer" and wait.pid in self.seen.polling

    def _is_bound(self, wait: ProcessWait) -> bool:
        """Whether only the processes that it waits for can end its wait."""
        return wait.kind in _CAN_NEVER_MOVE and not wait.has_limit and self._is_known(wait)

    def _is_known(self, wait: ProcessWait) -> bool:
        """Whether nobody else could end the wait: not a process that was not looked at, not a thread of its own."""
        if wait.threads > 1 or wait.pid in self.seen.moved:
            return False
        if wait.call is not None and wait.call.startswith("epoll_"):
            return False
        if wait.kind == "child":
            return True
        held = self.seen.holders.get(wait.pid)
        if held is None or not held.is_complete:
            return False
        return len(self._present.get(held.pids, held.pids)) == len(held.pids)

    # ---- what is known of one

    def may_be_active(self, pid: int) -> bool:
        """Whether somebody else's process may have done something within the time after which a job is stuck.

        One that is suspended has not, for however short a time it was looked at.
        """
        still = self.seen.idle_seconds.get(pid)
        is_held = self.waits[pid].kind == "suspended"
        return still is not None and not is_held and still < OUTSIDE_STILL_SHARE * self.job.stuck_after

    def line_of(self, pid: int) -> list[int]:
        """It and those that it descends from, as far as they are of the job."""
        line = [pid]
        while (parent := self.seen.parents.get(line[-1])) in self.own and parent not in line:
            line.append(parent)
        return line

    def has_made_its_pipe(self, wait: ProcessWait) -> bool:
        """Whether a reader reads from a pipe of its own making, and not from what it was given as its input."""
        numbers = [file.fd for file, _ in wait.several] or [wait.fd or 0]
        return self.pipe_number(wait) is None and all(number > 0 for number in numbers)

    def pipe_number(self, wait: ProcessWait) -> int | None:
        """The pipe between two stages that `wait` is about."""
        return None if wait.pipe is None else self.seen.pipes.get(wait.pipe)

    def stage_at_other_end(self, wait: ProcessWait) -> int | None:
        """Pipe n leaves stage n: its reader waits for stage n, its writer for stage n + 1."""
        number = self.pipe_number(wait)
        if number is None:
            return None
        return number if wait.kind == "pipe_read" else number + 1

    def stage_of(self, pid: int) -> int | None:
        number = self._numbers.get(pid)
        return self.seen.stages.get(pid) if number is None else number

    def is_outside(self, pid: int) -> bool:
        return pid not in self.own

    def reads_input(self, wait: ProcessWait) -> bool:
        """Whether it reads the job's own stdin pipe."""
        return wait.kind == "pipe_read" and wait.pipe is not None and wait.pipe == self.seen.input_pipe

    def last_own(self, chain: Chain) -> ProcessWait:
        """Where a chain leaves the job, else its end."""
        return next((step for step in reversed(chain.steps) if step.pid in self.own), chain.end)

    def _process_of(self, stage: int, but: int) -> int | None:
        """The stage's own process, else what is left of its tree."""
        leader = self.leaders.get(stage)
        if leader is not None:
            return leader if leader != but else None
        others = [pid for pid in self.own if pid != but and self.seen.stages.get(pid) == stage]
        return min(others, default=None)

    def _children_waited_for(self, wait: ProcessWait) -> tuple[int, ...]:
        if wait.on_pid is not None:
            return (wait.on_pid,) if wait.on_pid in self.waits and wait.on_pid != wait.pid else ()
        return tuple(pid for pid in self._children.get(wait.pid, ()) if self.own[pid].kind != "zombie")

    def _likelihood(self, route: tuple[int, ...]) -> tuple[int, int]:
        """Of several the one that will end the wait first: the one whose own chain ends in work or in a timer."""
        chain = Chain(tuple(self.waits[pid] for pid in route))
        rank = {True: 0, None: 1, False: 2}[benign_end(self, chain)]
        return rank + 3 * (chain.end.kind == "zombie"), route[0]


def benign_end(web: WaitGraph, chain: Chain) -> bool | None:
    """Whether the end of a chain is a wait that nobody need worry about; None: nothing tells."""
    found = _benign_by_itself(web, chain)
    if (
        found is False
        and background_holder(web, chain) is None
        and not all(_is_followed(web, step) for step in chain.steps[:-1])
    ):
        return None
    return found


def _is_followed(web: WaitGraph, step: ProcessWait) -> bool:
    """Whether an event loop on the way waits for processes of the job alone."""
    held = web.seen.holders.get(step.pid)
    return step.kind != "event_loop" or (held is not None and held.is_complete)


def _benign_by_itself(web: WaitGraph, chain: Chain) -> bool | None:
    end = chain.end
    if chain.cycle or end.ring:
        may_go_on = any(web.may_be_active(pid) for pid in chain.cycle) and not web.knot.issuperset(
            chain.cycle
        )
        return None if may_go_on else False
    own = web.last_own(chain)
    if own.pid != end.pid and own.kind != "pipe_read":
        return _is_answered(web, chain, own)
    if (
        end.has_limit
        and end.pid not in web.seen.polling
        and (end.kind == "tty_input" or web.reads_input(end))
    ):
        # It goes on without an answer, as `top` does; one that polls wants an answer.
        return True
    if background_holder(web, chain) is not None and end.kind in SERVES:
        # A reader with a descriptor of its own wants its end, to go on; a filter prints what comes.
        return False if web.has_made_its_pipe(chain.steps[-2]) else None
    if end.kind == "timer" and any(step.kind in ("pipe_write", "socket_write") for step in chain.steps):
        # What sleeps while its input is full reads nothing; what sleeps before it writes is a clock.
        return False
    if end.kind in ("running", "timer"):
        return True
    if end.kind in SERVES:
        # A shell that waits for a server is fine, and so is a reader of what it prints; a process that waits for an
        # idle server's answer is not.
        return all(step.kind in ("child", "pipe_read", "event_loop") for step in chain.steps[:-1])
    if web.reads_input(end):
        # Input from another job comes when that one prints; input from a person may never.
        return web.job.stdin == "job"
    if _asks_daemon(web, end):
        # `corral wait` and the like: the answer is another job's to give.
        return None
    if end.kind in ("unknown", "child", "zombie"):
        return True if end.has_limit else None
    if end.kind in ("pipe_read", "pipe_write") and end.pid not in web.seen.holders:
        # Nobody looked who has the other end.
        return None
    return False


def _is_answered(web: WaitGraph, chain: Chain, own: ProcessWait) -> bool | None:
    """Of a chain that leaves the job: a lock that others hold, or others who do not answer; unless they will."""
    end, beyond = chain.end, chain.steps[chain.steps.index(own) + 1 :]
    if own.kind == "socket_connect" or any(step.kind == "file_lock" for step in (own, *beyond)):
        return False  # that they work is no comfort to a process that is not let in
    if own.kind == "unknown":
        return None  # such as a semaphore: the process that changed it last need not be the one that is waited for
    if end.kind == "running":
        return True
    if own.kind not in _ASKS:
        return False
    follows_files = end.file is not None and end.file.kind == "inotify"
    if end.kind == "timer" or follows_files or any(s.has_sleeper or web.may_be_active(s.pid) for s in beyond):
        # A database that was told to sleep answers after that; a server that polls does not.
        return None
    held = web.seen.holders.get(own.pid)
    return held is not None and held.brings_news and end.kind in SERVES


def background_holder(web: WaitGraph, chain: Chain) -> ProcessWait | None:
    """The process that only keeps a pipe open at whose end its reader would go on: it went into the background with it.

    Its parent has ended, so nobody waits for it. What is a stage itself is meant to print.
    """
    if chain.cycle or len(chain.steps) < 2 or chain.end.kind not in _KEEPS:
        return None
    reader, end = chain.steps[-2:]
    reads_pipes = reader.kind == "pipe_read" or (
        reader.kind == "event_loop"
        and bool(reader.several)
        and all(file.kind == "pipe" for file, _ in reader.several)
    )
    if not reads_pipes or end.pid not in web.own:
        return None
    if end.kind == "timer" and not web.has_made_its_pipe(reader):
        return None  # it may have something to print when its time has come
    line = web.line_of(end.pid)
    is_left = not {reader.pid, *web.leaders.values()} & set(line)
    return web.waits[line[-1]] if is_left else None


def is_benign(web: WaitGraph) -> bool | None:
    """Whether the job's waits are such that it will go on by itself; None where that is not known.

    One chain that ends in a timer or in work suffices: what waits for it moves again. It does not count where another
    chain that ends there says that it never will: it sleeps while its input is full, for example.
    """
    chains = web.chains()
    blocking = {chain.end.pid for chain in chains if len(chain.steps) > 1 and benign_end(web, chain) is False}
    ends = [chain.end.pid not in blocking and benign_end(web, chain) for chain in chains]
    if True in ends:
        return True
    return None if None in ends or not ends else False


def _asks_daemon(web: WaitGraph, end: ProcessWait) -> bool:
    held = web.seen.holders.get(end.pid)
    return end.kind == "socket_read" and held is not None and web.seen.daemon in held.pids


_TOLD_BY_COUNTERS = (
    "pipe_read",
    "pipe_write",
    "tty_input",
    "file_lock",
    "suspended",
    "disk",
    "socket_connect",
)
"""Ends of chains that would have been left with a byte read or written, or are a state that was seen."""


def is_stuck_polling(web: WaitGraph, seconds: float) -> bool:
    """Whether a job that has only polled for `seconds` is stuck all the same.

    What comes from a socket is in no counter of bytes, so there the connection itself has to tell of the silence.
    """
    return is_benign(web) is False and all(_is_told(web, chain, seconds) for chain in web.chains())


def _is_told(web: WaitGraph, chain: Chain, seconds: float) -> bool:
    own = web.last_own(chain)
    is_full = any(step.kind == "pipe_write" for step in chain.steps)
    if own.kind in _TOLD_BY_COUNTERS or is_full or background_holder(web, chain) is not None:
        return True
    held = web.seen.holders.get(own.pid)
    if held is None or own.kind not in _ASKS:
        return False
    if held.silent_for is not None:
        return held.silent_for >= seconds
    # Nothing came from processes that did not use the CPU.
    others = [pid for pid in held.pids if pid != own.pid]
    return bool(others) and all(pid in web.seen.idle_seconds and not web.may_be_active(pid) for pid in others)


def is_deadlocked(web: WaitGraph) -> bool:
    """Whether every stage's chain ends in a ring that can never be resolved."""
    chains = web.chains()
    return bool(chains) and all(
        chain.end.ring or (chain.cycle and all(pid in web.knot for pid in chain.cycle)) for chain in chains
    )
