"""Starting a job: every look-up first, then every open, then the emptying, then the children.

So a pipeline that cannot start has touched nothing. The daemon keeps no end of any pipe between stages.
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

from corral.decide.homedir import check_folder
from corral.manage.jobs import ManagedJob, ManagedStage, OpenTerminal
from corral.manage.relaying import connect
from corral.system import argmax, limits, scheduling, shortage, tripwire
from corral.system.descriptors import is_scarce, keep
from corral.system.identity import identify
from corral.system.limits import LimitPlan
from corral.system.mark import Mark
from corral.system.openings import empty, may_block, open_redirection
from corral.system.pidfd import open_pidfd_if_possible
from corral.system.pipes import DEFAULT_CAPACITY, PipeBudget, inode_of, set_capacity
from corral.system.spawn import both, check_directory, find_program, spawn
from corral.system.terminal import open_terminal
from corral.values.errors import CannotStartError, CorralError
from corral.values.home import Home
from corral.values.spec import FileInput, InteractiveInput, JobInput, Redirection, Scheduling, Surroundings
from corral.values.wire import from_wire

_DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
_OUTPUT_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_FOR_PIDFDS = 0.75
"""Of all descriptors that the daemon may have, up to where pidfds are kept."""

Owned = Callable[[int], int]
OpenFiles = dict[tuple[int, int], int]
"""Descriptors of redirections, by stage number and position in its list."""


class StartError(Exception):
    """A job could not start. `spawned` are the stages that run already and have to be ended."""

    def __init__(self, stage: int | None, cause: CannotStartError, spawned: tuple[int, ...] = ()) -> None:
        super().__init__(_shortened(str(cause)))
        self.stage, self.status, self.spawned = stage, cause.status, spawned


_LONGEST_REASON = 600


def _shortened(reason: str) -> str:
    """It stands in every list; what was to be run, and is named in it, may be a megabyte."""
    if len(reason) <= _LONGEST_REASON:
        return reason
    return f"{reason[:400]}…{reason[-150:]}"


@dataclass(slots=True)
class _Shared:
    """What all jobs with the same surroundings have in common, worked out once."""

    environment: dict[bytes, bytes]
    path: str
    limit_plan: LimitPlan
    shares: Scheduling | None


@dataclass(slots=True)
class Preparation:
    """A job on its way: what was looked up and opened so far. Owns the descriptors in `opened` until the spawn."""

    job: ManagedJob
    programs: list[str]
    environments: list[Mapping[bytes, bytes]]
    redirections: list[tuple[Redirection, ...]]
    opened: OpenFiles = field(default_factory=dict)

    def to_open(self) -> list[tuple[int, int, Redirection, str]]:
        """(stage, position, redirection, absolute path) of all files, in the order written."""
        cwd = from_wire(self.job.surroundings.cwd)
        return [
            (number, position, redirection, os.path.join(cwd, from_wire(redirection.path)))
            for number, redirections in enumerate(self.redirections, 1)
            for position, redirection in enumerate(redirections)
            if redirection.path is not None
        ]

    def close(self) -> None:
        for descriptor in self.opened.values():
            os.close(descriptor)
        self.opened.clear()


class Starter:
    """Starts the stages of jobs as children of this process.

    Args:
        nonce: of this home's marks; None where marks do not work.
        watch: is called with a job when the files of its output have been made.
    """

    def __init__(
        self, home: Home, nonce: int | None, budget: PipeBudget, watch: Callable[[ManagedJob], None]
    ) -> None:
        self._home = home
        self._nonce = nonce
        self._budget = budget
        self._watch = watch
        self._sets_tripwires = tripwire.sectors_in(home.jobs) > 0
        self._own_limits = limits.current()
        self._own_nice = os.getpriority(os.PRIO_PROCESS, 0)
        self._own_scheduling = scheduling.of(os.getpid())
        self._shared: dict[int, tuple[Surroundings, _Shared]] = {}

    # ---- look-ups and opens

    def prepare(self, job: ManagedJob) -> Preparation:
        """Look everything up. Raises StartError; nothing has been opened then."""
        try:
            shared = self._shared_of(job.surroundings)
            cwd = from_wire(job.surroundings.cwd)
            check_directory(cwd)
        except CannotStartError as error:
            raise StartError(None, error) from None
        preparation = Preparation(job, [], [], [])
        for number, command in enumerate(job.commands, 1):
            environment, path = self._environment(job, number, shared)
            try:
                program = find_program(from_wire(command.argv[0]), path, cwd)
            except CannotStartError as error:
                raise StartError(number, error) from None
            argv = [os.fsencode(from_wire(word)) for word in command.argv]
            problem = argmax.why_not(program, argv, environment, _soft_stack(job))
            if problem is not None:
                raise StartError(number, CannotStartError(f"{program}: {problem}", 126))
            preparation.programs.append(program)
            preparation.environments.append(environment)
            preparation.redirections.append(_redirections(job, number))
        return preparation

    def patient_ones(self, preparation: Preparation) -> list[tuple[int, int, Redirection, str]]:
        """The files whose opening may wait for somebody."""
        return [entry for entry in preparation.to_open() if may_block(entry[3])]

    def open_rest(self, preparation: Preparation) -> None:
        """Open every file that is not open yet. Raises StartError; what was opened is closed then."""
        umask = preparation.job.surroundings.umask
        for number, position, redirection, path in preparation.to_open():
            if (number, position) in preparation.opened:
                continue
            try:
                descriptor = open_redirection(redirection, path, umask)
            except CannotStartError as error:
                preparation.close()
                raise StartError(number, error) from None
            preparation.opened[number, position] = descriptor

    # ---- the children

    def launch(self, preparation: Preparation) -> None:
        """Empty what is to be emptied and start every stage. Fills in the handles of the job's stages.

        Raises:
            StartError: its `spawned` stages run and are the caller's to end. No descriptor is left open.
        """
        job = preparation.job
        stage = None
        with ExitStack() as always_closed:
            always_closed.callback(preparation.close)
            try:
                tables = self._wire(preparation, always_closed)
                for number, position, redirection, _ in preparation.to_open():
                    if redirection.mode == "write":
                        empty(preparation.opened[number, position])
                for stage in job.stages:
                    self._spawn(preparation, stage, tables[stage.number - 1])
            except CannotStartError as error:
                raise StartError(stage.number if stage else None, error, spawned_stages(job)) from None
            except OSError as error:
                cause = CannotStartError(_explained(error), 125)
                raise StartError(stage.number if stage else None, cause, spawned_stages(job)) from None

    def _spawn(self, preparation: Preparation, stage: ManagedStage, table: tuple[int, int, int]) -> None:
        job = preparation.job
        index = stage.number - 1
        shared = self._shared_of(job.surroundings)
        stage.popen = spawn(
            [from_wire(word) for word in stage.argv],
            preparation.programs[index],
            table,
            cwd=from_wire(job.surroundings.cwd),
            environment=preparation.environments[index],
            umask=job.surroundings.umask,
            worn_mark=None if self._nonce is None else Mark(self._nonce, job.id, stage.number),
            limit_plan=shared.limit_plan,
            shares=shared.shares,
            terminal=None if job.terminal is None else job.terminal.inner,
        )
        pid = stage.popen.pid
        # Unreaped, so it still has its pid, even if it ended already. Where /proc cannot be read now the start fails,
        # and the stop sequence finds by its mark what was started.
        stage.identity = identify(pid)
        if stage.identity is None:
            raise CannotStartError(f"{stage.name}: its process could not be looked at in /proc", 125)
        stage.pidfd = _kept(open_pidfd_if_possible(pid))

    def _wire(self, preparation: Preparation, always_closed: ExitStack) -> list[tuple[int, int, int]]:
        """The descriptors 0, 1 and 2 of every stage. All are closed when `always_closed` is."""

        def owned(descriptor: int) -> int:
            always_closed.callback(os.close, descriptor)
            return descriptor

        job = preparation.job
        _make_folder(self._home.job(job.id))
        if job.spec.pty:
            return [self._wire_terminal(preparation, owned)]
        stdout, *stderr_of = self._open_outputs(job, owned)
        source = self._open_stdin(job, owned)
        tables = []
        for number in range(1, len(job.stages) + 1):
            sink, following = stdout, -1
            if number < len(job.stages):
                following, sink = self._open_pipe(job, number, owned)
            tables.append(_redirected(preparation, number, [source, sink, stderr_of[number - 1]]))
            source = following
        return tables

    def _open_outputs(self, job: ManagedJob, owned: Owned) -> list[int]:
        """What stdout is, and the stderr of each stage: the files of its output, or pipes to the relay that writes them."""
        paths = [
            self._home.stdout(job.id),
            *(self._home.stderr(job.id, stage.number) for stage in job.stages),
        ]
        files = [owned(os.open(path, _OUTPUT_FLAGS, 0o600)) for path in paths]
        if job.spec.output == "file" and self._sets_tripwires:
            job.tripwires = [tripwire.set_up(file) for file in files]
        self._watch(job)  # to set one up counts as a write
        if job.spec.output == "file":
            return files
        job.pipe_bytes += DEFAULT_CAPACITY * len(files)
        self._budget.took(DEFAULT_CAPACITY * len(files))
        return connect(job, self._home.job(job.id), files, owned)

    def _wire_terminal(self, preparation: Preparation, owned: Owned) -> tuple[int, int, int]:
        """The same for a job with a terminal, which has one stage. Its stdout file is ours to write; stderr stays empty."""
        job = preparation.job
        owned(os.open(self._home.stderr(job.id, 1), _OUTPUT_FLAGS, 0o600))
        sink = keep(os.open(self._home.stdout(job.id), _OUTPUT_FLAGS, 0o600))
        try:
            master, inner = open_terminal(*job.spec.terminal_size)
        except OSError as error:
            os.close(sink)
            # ENOSPC is what the kernel says once as many are open as /proc/sys/kernel/pty/max allows (pty(7)).
            why = "all of this machine are taken" if error.errno == errno.ENOSPC else shortage.in_words(error)
            raise CannotStartError(f"no terminal for it: {why}", 125) from None
        job.terminal = OpenTerminal(keep(master), keep(inner), sink)
        return _redirected(preparation, 1, [job.terminal.inner] * 3)

    def _open_pipe(self, job: ManagedJob, number: int, owned: Owned) -> tuple[int, int]:
        reader, writer = map(owned, os.pipe())
        job.pipe_inodes[inode_of(reader)] = number
        size = self._budget.size_for_next()
        taken = (set_capacity(writer, size) if size else None) or DEFAULT_CAPACITY
        self._budget.took(taken)
        job.pipe_bytes += taken
        return reader, writer

    def _open_stdin(self, job: ManagedJob, owned: Owned) -> int:
        if job.stdin_descriptor is not None:
            descriptor, job.stdin_descriptor = job.stdin_descriptor, None
            return owned(descriptor)
        if isinstance(job.spec.stdin, InteractiveInput | JobInput):
            reader, writer = os.pipe()
            job.stdin_writer = keep(writer)
            job.input_pipe = inode_of(owned(reader))
            return reader
        return owned(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))

    # ---- surroundings

    def _shared_of(self, surroundings: Surroundings) -> _Shared:
        known = self._shared.get(id(surroundings))
        if known is not None and known[0] is surroundings:
            return known[1]
        try:
            plan = limits.plan(surroundings.limits, surroundings.nice, self._own_limits, self._own_nice)
        except PermissionError as error:
            raise CannotStartError(str(error), 125) from None
        shares = scheduling.plan(surroundings.scheduling, self._own_scheduling)
        plan = plan._replace(inside=both(plan.inside, shares.inside))
        environment = {
            os.fsencode(from_wire(name)): os.fsencode(from_wire(value))
            for name, value in surroundings.environment.items()
        }
        environment[b"CORRAL_HOME"] = os.fsencode(self._home.path)
        shared = _Shared(
            environment, from_wire(surroundings.environment.get("PATH", _DEFAULT_PATH)), plan, shares.around
        )
        if len(self._shared) > 64:
            self._shared.clear()
        self._shared[id(surroundings)] = (surroundings, shared)
        return shared

    @staticmethod
    def _environment(job: ManagedJob, number: int, shared: _Shared) -> tuple[dict[bytes, bytes], str]:
        environment = shared.environment.copy()
        path = shared.path
        if job.spec.pty:
            _suit_terminal(environment)
        for name, value in job.commands[number - 1].assignments:
            environment[os.fsencode(from_wire(name))] = os.fsencode(from_wire(value))
            if name == "PATH":
                path = from_wire(value)
        environment[b"CORRAL_JOB_ID"] = b"%d" % job.id
        environment[b"CORRAL_STAGE"] = b"%d" % number
        return environment, path


def _suit_terminal(environment: dict[bytes, bytes]) -> None:
    """LINES and COLUMNS of the client's shell would be believed instead of the terminal's size, and never change."""
    environment.setdefault(b"TERM", b"xterm")
    for name in (b"LINES", b"COLUMNS"):
        environment.pop(name, None)


def spawned_stages(job: ManagedJob) -> tuple[int, ...]:
    """Those that have a process."""
    return tuple(stage.number for stage in job.stages if stage.popen is not None)


def _explained(error: OSError) -> str:
    """What could not be made, and what was lacking."""
    what = shortage.in_words(error)
    return what if error.filename is None else f"cannot make {os.fsdecode(error.filename)}: {what}"


def _soft_stack(job: ManagedJob) -> int:
    own = resource.getrlimit(resource.RLIMIT_STACK)
    return job.surroundings.limits.get(resource.RLIMIT_STACK, own)[0]


def _kept(pidfd: int | None) -> int | None:
    """The pidfd to keep. None where descriptors are so scarce that the next job would get none: then it is polled."""
    if pidfd is None:
        return None
    pidfd = keep(pidfd)
    if not is_scarce(pidfd, _MOST_FOR_PIDFDS):
        return pidfd
    os.close(pidfd)
    return None


def _make_folder(path: str) -> None:
    try:
        try:
            os.mkdir(path, 0o700)
        except FileNotFoundError:
            # `jobs` was removed since the daemon looked last.
            os.mkdir(os.path.dirname(path), 0o700)
            os.mkdir(path, 0o700)
    except FileExistsError:
        try:
            check_folder(path)
        except CorralError as error:
            raise CannotStartError(str(error), 125) from None


def _redirections(job: ManagedJob, number: int) -> tuple[Redirection, ...]:
    command = job.commands[number - 1]
    redirections = command.redirections
    if number == 1 and isinstance(job.spec.stdin, FileInput):
        redirections = (Redirection(0, "read", job.spec.stdin.path), *redirections)
    if command.merges_stderr_into_pipe:
        redirections = (*redirections, Redirection(2, "merge"))
    return redirections


def _redirected(preparation: Preparation, number: int, table: list[int]) -> tuple[int, int, int]:
    """Apply a stage's redirections in the order written, as POSIX sh does."""
    for position, redirection in enumerate(preparation.redirections[number - 1]):
        if redirection.mode == "merge":
            table[redirection.fd] = table[1]
        else:
            table[redirection.fd] = preparation.opened[number, position]
    return table[0], table[1], table[2]
