"""What the threads of a stage do at this moment, as far as its pipes are concerned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from corral.measure.stage_times import ThreadSample, WaitSide
from corral.platform.host.procfs import Stat, read_stat, thread_count
from corral.platform.inspect.open_files import OpenFile
from corral.platform.process.cpu_clock import scheduled_nanoseconds
from corral.waits.process_wait import ProcessWait, wait_of_thread
from corral.waits.threads import ThreadWait, first_thread, other_threads

MOST_PROCESSES = 16
MOST_THREADS = 32
"""Of one stage, and of each of its processes: more are not looked at."""


class StagePipes(NamedTuple):
    """The inodes of the pipes at both ends of a stage; None at the ends of the pipeline, but for a pipe as its stdin."""

    input: int | None
    output: int | None
    is_first: bool


def stage_pipes(number: int, pipes: Mapping[int, int], input_pipe: int | None) -> StagePipes:
    """`pipes` has the number of each pipe by its inode; pipe n leaves stage n."""
    inodes = {pipe: inode for inode, pipe in pipes.items()}
    return StagePipes(
        inodes.get(number - 1, input_pipe if number == 1 else None), inodes.get(number), number == 1
    )


def sample_threads(pids: Iterable[int], ends: StagePipes) -> list[ThreadSample]:
    """One look at each thread of these processes of a stage. 30 µs each; nothing where the kernel does not count."""
    found = []
    for pid in list(pids)[:MOST_PROCESSES]:
        stat = read_stat(pid)
        if stat is None or stat.has_ended:
            continue
        threads = [first_thread(stat)]
        if thread_count(pid) > 1:
            threads += other_threads(pid, MOST_THREADS)
        for thread in threads:
            scheduled = scheduled_nanoseconds(pid, thread.tid)
            if scheduled is not None:
                found.append(ThreadSample(thread.tid, scheduled, _doing(stat, thread, ends)))
    return found


def _doing(stat: Stat, thread: ThreadWait, ends: StagePipes) -> WaitSide | None:
    if thread.meaning.kind == "running":
        return None
    if thread.meaning.kind not in ("pipe_read", "pipe_write", "event_loop"):
        return "other"
    wait = wait_of_thread(stat, thread)
    if wait.kind == "tty_input":
        return "input" if ends.is_first else "other"
    if wait.kind in ("pipe_read", "pipe_write"):
        return _at(wait, ends)
    for file, reads in wait.several:
        # It would be awake if there were something in the one, or room in the other.
        if _is(file, ends.input if reads else ends.output):
            return "input" if reads else "output"
    return "other"


def _at(wait: ProcessWait, ends: StagePipes) -> WaitSide:
    is_read = wait.kind == "pipe_read"
    if wait.file is None:
        # Only the kernel's function may be seen.
        return "input" if is_read else "output"
    if _is(wait.file, ends.input if is_read else ends.output):
        return "input" if is_read else "output"
    is_stdin = ends.is_first and ends.input is None and wait.file.fd == 0
    return "input" if is_read and is_stdin else "other"


def _is(file: OpenFile, inode: int | None) -> bool:
    return file.kind == "pipe" and inode is not None and file.inode == inode
