"""What this machine has of a running job: the processes of its stages and tree, pipes, descriptors. Private to the executor."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from corral.jobs.managed_job import ManagedJob, ManagedStage
from corral.measure.sampler import Usage
from corral.output.capped_stream import CappedStream
from corral.platform.process.identity import ProcessIdentity
from corral.processes.output_files import OutputFiles


@dataclass(slots=True)
class InheritedChild:
    """A child that this process had before it became another program (execve(2)). Ours to reap, though no Popen knows it."""

    pid: int
    returncode: int | None = None


@dataclass(slots=True)
class StageHandle:
    """The process of one stage. `popen` is None before the start and for one adopted after a crash."""

    popen: subprocess.Popen[bytes] | InheritedChild | None = None
    identity: ProcessIdentity | None = None
    pidfd: int | None = None
    untold_since: float | None = None
    """Since when (monotonic seconds) it has ended, and it is not known how."""


@dataclass(slots=True)
class Member:
    """One live process of a job's tree, with what was last seen of it."""

    identity: ProcessIdentity
    stage: int
    cpu_ns: int = -1
    moved_at: float = 0.0
    """When that clock was last seen to have gone on (monotonic seconds)."""
    cpu_seconds: float = 0.0
    """With its waited-for children, at the last sample."""
    usage: Usage | None = None


class OpenTerminal(NamedTuple):
    """A terminal that was opened for a job: the master, the job's side, and the stdout file."""

    master: int
    inner: int
    sink: int


@dataclass(slots=True, eq=False)
class LocalRun:
    """The processes and descriptors of one job."""

    files: OutputFiles = field(default_factory=OutputFiles)
    members: dict[int, Member] = field(default_factory=dict)
    """The tree as of the last scan, by pid. Replaced as a whole when others come, made smaller in place when one is reaped."""
    members_seen: tuple[dict[int, Member], int] | None = None
    """These, and how many they were, when it was last visited."""
    rested_at: Sequence[int] | None = None
    """The sizes of its output files when it was last visited, if all about it had settled by then."""
    proven: dict[int, ProcessIdentity] = field(default_factory=dict)
    """By pid: processes without its mark that other ways have proven to be its own."""
    contradictions: dict[ProcessIdentity, str] = field(default_factory=dict)
    """Of processes whose mark says this job and all else another one, or the other way round: a sentence each."""
    pipe_bytes: int = 0
    """What its pipes take of the pipe budget."""
    pipe_inodes: dict[int, int] = field(default_factory=dict)
    """Number of the pipe between two stages, by inode."""
    input_pipe: int | None = None
    """Inode of the pipe that is its stdin, when it is interactive or fed by another job."""
    stdin_descriptor: int | None = None
    """The client's own descriptor, until the job starts."""
    stdin_writer: int | None = None
    """The write end of an interactive job's stdin."""
    terminal: OpenTerminal | None = None
    """Of a job that is just being started with one; `Terminals` has it from then on."""
    relay: int | None = None
    """The pid of the process that writes its output, where we have started that."""
    is_draining: bool = False
    """Every stage has ended, and what they wrote has still to come through the relay."""
    watches: list[int] = field(default_factory=list)
    """Of its output files, by inotify."""
    first_watches: list[int] = field(default_factory=list)
    written_first: set[int] = field(default_factory=set)
    """Those of its output files that were written to before anybody opened them again."""
    capped: Sequence[CappedStream] = ()
    """Its output files, stdout first, once one of them comes near its cap."""


def run_of(job: ManagedJob) -> LocalRun:
    """What we hold of a job."""
    held: Any = job.held  # asked for many times a second, of each job: nobody else puts anything there
    if held is None:
        held = job.held = LocalRun()
    run: LocalRun = held
    return run


def handle_of(stage: ManagedStage) -> StageHandle:
    """What we hold of a stage."""
    held: Any = stage.held
    if held is None:
        held = stage.held = StageHandle()
    handle: StageHandle = held
    return handle


def leader_of(stage: ManagedStage) -> ProcessIdentity | None:
    """The process that was started for a stage."""
    held: Any = stage.held
    return None if held is None else held.identity


def leaders_of(stages: Iterable[ManagedStage]) -> list[tuple[ManagedStage, ProcessIdentity]]:
    """Those of these stages that have begun, each with its process."""
    found = ((stage, leader_of(stage)) for stage in stages)
    return [(stage, leader) for stage, leader in found if leader is not None]


def is_running(stage: ManagedStage) -> bool:
    if stage.ended is not None or stage.held is None:
        return False
    handle = handle_of(stage)
    return handle.identity is not None or handle.popen is not None


def running_stages(job: ManagedJob) -> list[ManagedStage]:
    return [stage for stage in job.stages if is_running(stage)]
