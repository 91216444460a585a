"""Who waits for whom within one job, and where each chain of waits ends. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from corral.observe.waits import ProcessWait
from corral.values.jobs import Job


class Observations(NamedTuple):
    """What was seen of one job's processes at one moment.

    `waits`: the stages' own processes and, where the tree was looked at, the others. `stages`: pid to the stage it
    descends from. `pipes`: inode of a pipe between two stages to its number. `input_pipe`: inode of the pipe that is the
    job's stdin, for an interactive job or one fed by another. `parents`: pid to parent pid. `since`: pid to the
    beginning of its wait.
    """

    waits: tuple[ProcessWait, ...]
    stages: Mapping[int, int] = {}
    pipes: Mapping[int, int] = {}
    input_pipe: int | None = None
    parents: Mapping[int, int] = {}
    since: Mapping[int, datetime] = {}


class Chain(NamedTuple):
    """The waits from one stage's process to where they end. `cycle` holds the pids of a ring, empty where there is none."""

    steps: tuple[ProcessWait, ...]
    cycle: tuple[int, ...] = ()

    @property
    def end(self) -> ProcessWait:
        return self.steps[-1]


class Web:
    """The waits of one job, as a graph: each process waits for at most one other."""

    def __init__(self, job: Job, seen: Observations) -> None:
        self.job = job
        self.seen = seen
        self.waits = {wait.pid: wait for wait in seen.waits}
        self.leaders = {stage.number: stage.pid for stage in job.stages if stage.pid in self.waits}
        self._children: dict[int, list[int]] = {}
        for pid, parent in seen.parents.items():
            if pid in self.waits:
                self._children.setdefault(parent, []).append(pid)

    def chains(self) -> list[Chain]:
        """One for each stage that has a process, in the order of the stages; of a tree without leaders, one for each."""
        starts = [self.leaders[number] for number in sorted(self.leaders)] or sorted(self.waits)
        return [self.chain(pid) for pid in starts if pid is not None]

    def chain(self, start: int) -> Chain:
        """Follow the waits from `start`."""
        steps: dict[int, ProcessWait] = {}
        pid: int | None = start
        while pid is not None and pid not in steps:
            steps[pid] = self.waits[pid]
            pid = self.waited_for(steps[pid])
        order = list(steps)
        ring = () if pid is None else tuple(order[order.index(pid) :])
        return Chain(tuple(steps.values()), ring)

    def waited_for(self, wait: ProcessWait) -> int | None:
        """The pid of the process of this job that `wait` waits for; None where it ends here or the other is not seen."""
        if wait.kind == "child":
            return self._child(wait)
        stage = self.stage_at_other_end(wait)
        return None if stage is None else self._process_of(stage, wait.pid)

    def pipe_number(self, wait: ProcessWait) -> int | None:
        """The pipe between two stages that `wait` is about."""
        return None if wait.pipe is None else self.seen.pipes.get(wait.pipe)

    def stage_at_other_end(self, wait: ProcessWait) -> int | None:
        """Pipe n leaves stage n: who reads it waits for stage n, who writes it for stage n + 1."""
        number = self.pipe_number(wait)
        if number is None:
            return None
        return number if wait.kind == "pipe_read" else number + 1

    def stage_of(self, pid: int) -> int | None:
        for number, leader in self.leaders.items():
            if leader == pid:
                return number
        return self.seen.stages.get(pid)

    def reads_input(self, wait: ProcessWait) -> bool:
        """Whether it reads the job's own stdin pipe."""
        return wait.kind == "pipe_read" and wait.pipe is not None and wait.pipe == self.seen.input_pipe

    def _process_of(self, stage: int, but: int) -> int | None:
        """The stage's own process, else what is left of its tree."""
        leader = self.leaders.get(stage)
        if leader is not None:
            return leader if leader != but else None
        others = [pid for pid in self.waits if pid != but and self.seen.stages.get(pid) == stage]
        return min(others, default=None)

    def _child(self, wait: ProcessWait) -> int | None:
        if wait.on_pid is not None:
            return wait.on_pid if wait.on_pid in self.waits and wait.on_pid != wait.pid else None
        children = self._children.get(wait.pid, ())
        return min(children, key=self._likelihood, default=None)

    def _likelihood(self, pid: int) -> tuple[int, int]:
        """Of several children the one that will end its wait first: one that runs, a timer, then the rest.

        The wait is over when any child ends (wait4(2) with -1), so one that moves is what counts.
        """
        order = {
            "running": 0,
            "timer": 1,
            "disk": 2,
            "child": 3,
            "pipe_read": 4,
            "pipe_write": 4,
            "zombie": 9,
        }
        return order.get(self.waits[pid].kind, 5), pid


def benign_end(web: Web, chain: Chain) -> bool | None:
    """Whether the end of a chain is a wait that nobody need worry about; None: nothing tells."""
    if chain.cycle:
        return False
    end = chain.end
    if end.kind in ("running", "timer"):
        return True
    if end.kind in ("suspended", "disk", "tty_input"):
        return False
    if web.reads_input(end):
        # Input from another job comes when that one prints; input from a person may never.
        return web.job.stdin == "job"
    return None


def is_benign(job: Job, seen: Observations) -> bool | None:
    """Whether the job's waits are such that it will go on by itself; None where that is not known.

    One chain that ends in a timer or in work suffices: what waits for it moves again.
    """
    web = Web(job, seen)
    ends = [benign_end(web, chain) for chain in web.chains()]
    if True in ends:
        return True
    return None if None in ends or not ends else False
