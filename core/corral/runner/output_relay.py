"""`--output pipe`: the pipes of a job's output, and the relay that writes what comes through them to its files.

The relay is started by us and is no process of the job: it has no mark, sits in a session of its own and gets no signal.
It holds a lock (flock(2)) on the job's stdout file for as long as it lives, and that is all that anybody has to know of it: a next
daemon, too, sees by the lock whether all has come through.
"""

from __future__ import annotations

import asyncio
import fcntl
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from msgspec import Struct, field

from corral.jobs.managed_job import ManagedJob
from corral.jobs.transitions import Apply
from corral.journal.journal import Journal
from corral.lifecycle.state import Event
from corral.model.errors import CannotStartError
from corral.model.home import Home
from corral.output import relay_program
from corral.output.job_files import open_own
from corral.processes.local_run import is_running, run_of
from corral.processes.reaping import ChildEnd

LAST_SECONDS = 1.0
"""How long the end of a job waits for what is still in the pipes: a process that it leaves behind may keep them open."""
LOOK_SECONDS = 1.0
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.001, 0.05
_PROGRAM = inspect.getsource(relay_program).encode()


def connect(job: ManagedJob, folder: str, files: Sequence[int], owned: Callable[[int], int]) -> list[int]:
    """Start a relay to these files; the write ends of the pipes to it come back, in the same order.

    `owned` takes over every descriptor that is to be closed here once the job was started.

    Raises:
        OSError, CannotStartError: nothing was started.
    """
    try:
        fcntl.flock(files[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # ENOLCK, EOPNOTSUPP: some network file systems. EWOULDBLOCK: another process has locked it.
        raise CannotStartError(f"no relay for its output: cannot lock it: {error.strerror}", 125) from None
    readers, writers = [], []
    for _ in files:
        reader, writer = map(owned, os.pipe())
        readers.append(reader)
        writers.append(writer)
    program, source = os.pipe()
    try:
        with open(source, "wb") as stream:
            stream.write(_PROGRAM)  # less than a page, which an empty pipe takes at once
        routes = [f"{reader}:{file}" for reader, file in zip(readers, files, strict=True)]
        # Onto itself, dup2 only takes close-on-exec off (posix_spawn_file_actions_adddup2(3)).
        actions = [(os.POSIX_SPAWN_DUP2, program, 0)]
        actions += [(os.POSIX_SPAWN_DUP2, each, each) for each in (*readers, *files)]
        argv = [sys.executable, "-I", "-S", "-", folder, *routes]
        run_of(job).relay = os.posix_spawn(sys.executable, argv, {}, file_actions=actions, setsigmask=())
    finally:
        os.close(program)
    return writers


class Relays(Struct, eq=False):
    """The relays of all jobs: what is to be said of their end, and the ends of jobs that wait for it."""

    _home: Home
    _journal: Journal
    _apply: Apply
    touch: Callable[[ManagedJob], None]
    reap: Callable[[], None]
    """Reaps every child that has ended, and tells `note_end` of those that are no stages."""
    note_through: Callable[[], None]
    """Called once an end that had waited was applied."""
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    _jobs: dict[int, ManagedJob] = {}
    """By the pid of the relay, of those that we have started."""

    def note_started(self, job: ManagedJob) -> None:
        relay = run_of(job).relay
        if relay is None:
            return
        if not self._jobs:
            self._loop.call_later(LOOK_SECONDS, self._look_after)
        self._jobs[relay] = job

    def note_end(self, pid: int, end: ChildEnd) -> None:
        """A child of ours has ended that is no stage."""
        job = self._jobs.pop(pid, None)
        if job is None or end.exit_status == 0:
            return
        how = f"ended by {end.signal}" if end.signal else f"ended with {end.exit_status}"
        text = f"the relay of its output was {how}: its next write there is SIGPIPE, as into any pipe without a reader"
        self._journal.record(job.id, datetime.now(UTC), "output", text)
        self.touch(job)

    def _look_after(self) -> None:
        """See whether one has ended that should not have."""
        self.reap()
        if self._jobs:
            self._loop.call_later(LOOK_SECONDS, self._look_after)

    # ---- the last lines

    def apply_once_through(self, job: ManagedJob, event: Event) -> None:
        """Apply the event; if it is the end of the last stage, once all that it wrote is in its files."""
        if (
            job.spec.output != "pipe"
            or any(is_running(stage) for stage in job.stages)
            or run_of(job).is_draining
        ):
            self._apply(job, event)
            return
        run_of(job).is_draining = True
        if job.timeout_timer is not None:
            # It has ended in time.
            job.timeout_timer.cancel()
            job.timeout_timer = None
        self._look(job, event, self._loop.time() + LAST_SECONDS, _SHORTEST_PAUSE)

    def _look(self, job: ManagedJob, event: Event, deadline: float, pause: float) -> None:
        is_late = self._loop.time() >= deadline
        if not is_late and self._is_at_work(job):
            self._loop.call_later(pause, self._look, job, event, deadline, min(_LONGEST_PAUSE, 1.5 * pause))
            return
        run_of(job).is_draining = False
        if is_late:
            text = "ended while its output is still open: a process that it left behind may still write there, or the disk is full"
            self._journal.record(job.id, datetime.now(UTC), "output", text)
        self._apply(job, event)
        self.note_through()

    def _is_at_work(self, job: ManagedJob) -> bool:
        """Whether the relay still holds its lock."""
        try:
            descriptor = open_own(self._home.stdout(job.id), os.O_RDONLY)
        except OSError:
            return False  # removed by hand: there is nothing to wait for
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(descriptor)
        return False
