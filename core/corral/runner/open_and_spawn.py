"""Starting a job: every look-up first, then every open, then the emptying, then the children.

So a pipeline that cannot start has touched nothing. The daemon keeps no end of any pipe between stages.
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable, Collection
from contextlib import ExitStack, suppress

from msgspec import Struct

from corral.home.directory import check_folder
from corral.jobs.managed_job import ManagedJob, ManagedStage
from corral.measure.history import Stream
from corral.model.errors import CannotStartError, CorralError, OtherSurroundingsError
from corral.model.home import Home
from corral.model.spec import FileInput, InteractiveInput, JobInput, Redirection, Surroundings
from corral.model.wire import from_wire
from corral.output.job_files import make_own
from corral.platform.files import truncation_tripwire
from corral.platform.files.descriptors import move_high
from corral.platform.files.hanging_mounts import HangingMounts
from corral.platform.files.path_destination import (
    FILE,
    HANGS,
    OWN,
    TERMINAL,
    MayHangError,
    destination,
    hang_check,
)
from corral.platform.files.pipes import DEFAULT_CAPACITY, PipeBudget, inode_of, set_capacity
from corral.platform.files.pty import open_terminal
from corral.platform.files.redirections import check_own, empty, may_block, open_redirection
from corral.platform.host import resource_errors
from corral.platform.process import mark
from corral.platform.process.identity import identify
from corral.platform.process.mark import Mark
from corral.platform.process.pidfd import open_pidfd_to_keep
from corral.platform.spawn import arg_max, inheritance, resource_limits, stand_in_launcher
from corral.platform.spawn.executables import (
    Check,
    check_directory,
    check_interpreter,
    find_program,
    no_check,
)
from corral.platform.spawn.inheritance import ChildSettings
from corral.platform.spawn.spawn import spawn
from corral.processes.local_run import OpenTerminal, handle_of, run_of
from corral.runner.output_relay import connect
from corral.runner.preparation import Preparation, StartError
from corral.runner.stand_ins import StandIns

_DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
_MOST_FOR_PIDFDS = 0.75
"""Of all descriptors that the daemon may have, up to where pidfds are kept: the next job would get none."""

Owned = Callable[[int], int]


class _Shared(Struct):
    """What all jobs with the same surroundings have in common, worked out once."""

    environment: dict[bytes, bytes]
    path: str
    settings: ChildSettings


class Starter:
    """Starts the stages of jobs as children of this process.

    Args:
        nonce: of this home's marks; None where marks do not work.
        watch: is called with a job when the files of its output have been made.
    """

    def __init__(
        self,
        home: Home,
        nonce: int | None,
        budget: PipeBudget,
        mounts: HangingMounts,
        watch: Callable[[ManagedJob], None],
    ) -> None:
        self._home = home
        self._nonce = nonce
        self._budget = budget
        self._watch = watch
        self._sets_tripwires = truncation_tripwire.sectors_in(home.jobs) > 0
        self.own = inheritance.own_of_this()
        self._shared: dict[int, tuple[Surroundings, _Shared]] = {}
        self._mounts = mounts
        stand_in_launcher.prepare()

    # ---- look-ups and opens

    def prepare(self, job: ManagedJob) -> Preparation:
        """Look everything up, as far as that cannot make us wait. Raises StartError; nothing has been opened then."""
        preparation = Preparation(
            job, [_redirections(job, number) for number in range(1, len(job.stages) + 1)]
        )
        hanging = self._mounts.may_hang
        check = hang_check(hanging) if hanging else no_check
        try:
            self._look_up(preparation, check)
            self._follow(preparation, hanging)
        except MayHangError:
            preparation.may_wait = True
        return preparation

    def _look_up(self, preparation: Preparation, check: Check) -> None:
        job = preparation.job
        stage = None
        try:
            shared = self._shared_of(job.surroundings)
            cwd = from_wire(job.surroundings.cwd)
            check(cwd)
            check_directory(cwd)
            for stage, command in enumerate(job.commands, 1):
                environment, path = self._environment(job, stage, shared)
                program = find_program(from_wire(command.argv[0]), path, cwd, check)
                if check is not no_check:
                    check_interpreter(os.path.join(cwd, program), check)
                argv = [os.fsencode(from_wire(word)) for word in command.argv]
                problem = arg_max.why_not(program, argv, environment, _soft_stack(job))
                if problem is not None:
                    raise CannotStartError(f"{program}: {problem}", 126)
                preparation.programs.append(program)
                preparation.environments.append(environment)
        except CannotStartError as error:
            raise StartError(stage, error) from None

    def check_program(self, name: str, surroundings: Surroundings) -> None:
        """Raises CannotStartError where there is no such program; one that could make us wait is not looked for."""
        hanging = self._mounts.may_hang
        with suppress(MayHangError):
            check = hang_check(hanging) if hanging else no_check
            cwd = from_wire(surroundings.cwd)
            check(cwd)
            check_directory(cwd)
            find_program(from_wire(name), self._shared_of(surroundings).path, cwd, check)

    @staticmethod
    def _follow(preparation: Preparation, hanging: Collection[str]) -> None:
        """Where the paths of redirections lead. Raises StartError, MayHangError."""
        for number, position, redirection, path in preparation.paths():
            found = preparation.destinations[number, position] = destination(path, hanging)
            if found.kind in (HANGS, OWN) or (found.kind == FILE and may_block(path)):
                raise MayHangError(path)
            if found.kind == FILE:
                continue
            has_terminal = preparation.job.spec.pty
            try:
                check_own(
                    from_wire(redirection.path or ""), redirection.mode, found, has_terminal=has_terminal
                )
            except CannotStartError as error:
                raise StartError(number, error) from None

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

    def start_stand_ins(self, preparation: Preparation, stand_ins: StandIns) -> None:
        """Start a process ahead of each stage. Raises StartError; those that were started are in `stand_ins`."""
        job = preparation.job
        try:
            shared = self._shared_of(job.surroundings)
            for stage in job.stages:
                environment, path = self._environment(job, stage.number, shared)
                plan = self._plan(preparation, stage.number) | {
                    "environment": environment,
                    "search_path": path,
                }
                title = f"corral: job {job.id}, stage {stage.number} ({stage.name}), opening its files"
                stand_ins.add(stage.number, stand_in_launcher.start_stand_in(plan, title, shared.settings))
        except CannotStartError as error:
            raise StartError(None, error) from None
        finally:
            # They have copies.
            preparation.close()

    def _plan(self, preparation: Preparation, number: int) -> dict[str, object]:
        """What a stand-in has to know, but for its environment (`corral.platform.spawn.stand_in.StagePlan`)."""
        job, surroundings = preparation.job, preparation.job.surroundings
        settings = self._shared_of(surroundings).settings
        # The limits that are set around a spawn would keep it from opening its files.
        limits_of = {"limits": resource_limits.others(surroundings.limits, self.own.limits)}
        return {
            "argv": [from_wire(word) for word in job.commands[number - 1].argv],
            "cwd": from_wire(surroundings.cwd),
            "umask": surroundings.umask,
            "redirections": [
                (one.fd, one.mode, None if one.path is None else from_wire(one.path))
                for one in preparation.redirections[number - 1]
            ],
            "given": {
                position: descriptor
                for (stage, position), descriptor in preparation.opened.items()
                if stage == number
            },
            "inside": (settings.inside or {}) | limits_of,
            "has_terminal": job.spec.pty,
        }

    def release_stand_ins(self, preparation: Preparation, stand_ins: StandIns) -> None:
        """Let those that went ahead become the stages: all have opened what they need.

        Raises:
            StartError: those that were told are stages by now.
        """
        job = preparation.job
        with ExitStack() as always_closed:
            try:
                tables = self._wire(preparation, always_closed)
                for one, table in zip(stand_ins.all, tables, strict=True):
                    # Marked at the last moment: what is marked has started, for a daemon that finds it.
                    if self._nonce is not None:
                        mark.set_on(one.identity.pid, Mark(self._nonce, job.id, one.stage))
                    stand_in_launcher.send_go(one.line, table)
                    stand_ins.note_told(one)
            except CannotStartError as error:
                raise StartError(None, error) from None
            except OSError as error:
                raise StartError(None, CannotStartError(_explained(error), 125)) from None

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
        terminal, handle = run_of(job).terminal, handle_of(stage)
        popen = handle.popen = spawn(
            [from_wire(word) for word in stage.argv],
            preparation.programs[index],
            table,
            cwd=from_wire(job.surroundings.cwd),
            environment=preparation.environments[index],
            umask=job.surroundings.umask,
            carried_mark=None if self._nonce is None else Mark(self._nonce, job.id, stage.number),
            settings=shared.settings,
            terminal=None if terminal is None else terminal.inner,
        )
        # Unreaped, so it still has its pid, even if it ended already. Where /proc cannot be read now the start fails,
        # and the stop sequence finds by its mark what was started.
        handle.identity = identify(popen.pid)
        if handle.identity is None:
            raise CannotStartError(f"{stage.name}: its process could not be looked at in /proc", 125)
        handle.pidfd = open_pidfd_to_keep(popen.pid, _MOST_FOR_PIDFDS)

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
        files = [owned(make_own(path)) for path in self._home.outputs(job.id, len(job.stages))]
        # Of a job of a batch, of which there may be hundreds a second, it would cost more than all the rest of its output.
        if job.spec.output == "file" and self._sets_tripwires and job.batch_input is None:
            job.history.streams = [Stream(has_tripwire=truncation_tripwire.set_up(file)) for file in files]
        if job.batch_input is None:
            self._watch(job)  # to set one up counts as a write
        if job.spec.output == "file":
            return files
        run_of(job).pipe_bytes += DEFAULT_CAPACITY * len(files)
        self._budget.took(DEFAULT_CAPACITY * len(files))
        return connect(job, self._home.job(job.id), files, owned)

    def _wire_terminal(self, preparation: Preparation, owned: Owned) -> tuple[int, int, int]:
        """The same for a job with a terminal, which has one stage. Its stdout file is ours to write; stderr stays empty."""
        job = preparation.job
        owned(make_own(self._home.stderr(job.id, 1)))
        sink = move_high(make_own(self._home.stdout(job.id)))
        try:
            master, inner = open_terminal(*job.spec.terminal_size)
        except OSError as error:
            os.close(sink)
            # ENOSPC is what the kernel says once as many are open as /proc/sys/kernel/pty/max allows (pty(7)).
            why = (
                "all of this machine are taken"
                if error.errno == errno.ENOSPC
                else resource_errors.explanation(error)
            )
            raise CannotStartError(f"no terminal for it: {why}", 125) from None
        terminal = run_of(job).terminal = OpenTerminal(move_high(master), move_high(inner), sink)
        return _redirected(preparation, 1, [terminal.inner] * 3)

    def _open_pipe(self, job: ManagedJob, number: int, owned: Owned) -> tuple[int, int]:
        reader, writer = map(owned, os.pipe())
        run_of(job).pipe_inodes[inode_of(reader)] = number
        size = self._budget.size_for_next()
        taken = (set_capacity(writer, size) if size else None) or DEFAULT_CAPACITY
        self._budget.took(taken)
        run_of(job).pipe_bytes += taken
        return reader, writer

    def _open_stdin(self, job: ManagedJob, owned: Owned) -> int:
        run = run_of(job)
        if run.stdin_descriptor is not None:
            descriptor, run.stdin_descriptor = run.stdin_descriptor, None
            return owned(descriptor)
        if isinstance(job.spec.stdin, InteractiveInput | JobInput):
            reader, writer = os.pipe()
            run.stdin_writer = move_high(writer)
            run.input_pipe = inode_of(owned(reader))
            return reader
        return owned(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))

    # ---- surroundings

    def _shared_of(self, surroundings: Surroundings) -> _Shared:
        known = self._shared.get(id(surroundings))
        if known is not None and known[0] is surroundings:
            return known[1]
        try:
            inheritance.check(surroundings, self.own)
        except OtherSurroundingsError as error:
            raise CannotStartError(str(error), 125) from None
        environment = {
            os.fsencode(from_wire(name)): os.fsencode(from_wire(value))
            for name, value in surroundings.environment.items()
        }
        environment[b"CORRAL_HOME"] = os.fsencode(self._home.path)
        path = from_wire(surroundings.environment.get("PATH", _DEFAULT_PATH))
        shared = _Shared(environment, path, inheritance.child_settings(surroundings, self.own))
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
        environment[b"CORRAL_JOB_ID"] = str(job.id).encode()
        environment[b"CORRAL_STAGE"] = b"%d" % number
        return environment, path


def _suit_terminal(environment: dict[bytes, bytes]) -> None:
    """LINES and COLUMNS of the client's shell would be believed instead of the terminal's size, and never change."""
    environment.setdefault(b"TERM", b"xterm")
    for name in (b"LINES", b"COLUMNS"):
        environment.pop(name, None)


def spawned_stages(job: ManagedJob) -> tuple[int, ...]:
    """Those that have a process."""
    return tuple(stage.number for stage in job.stages if handle_of(stage).popen is not None)


def _explained(error: OSError) -> str:
    """What could not be made, and what was lacking."""
    what = resource_errors.explanation(error)
    return what if error.filename is None else f"cannot make {os.fsdecode(error.filename)}: {what}"


def _soft_stack(job: ManagedJob) -> int:
    own = resource.getrlimit(resource.RLIMIT_STACK)
    return job.surroundings.limits.get(resource.RLIMIT_STACK, own)[0]


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
    """Apply a stage's redirections in the order written, as POSIX sh does. What goes ahead of a stage does it by itself."""
    terminal = run_of(preparation.job).terminal
    own = [] if preparation.may_wait else preparation.redirections[number - 1]
    for position, redirection in enumerate(own):
        found = preparation.destinations.get((number, position))
        if found is None:
            table[redirection.fd] = table[1]
        elif found.kind == FILE:
            table[redirection.fd] = preparation.opened[number, position]
        elif found.kind == TERMINAL and terminal is not None:
            table[redirection.fd] = terminal.inner
        else:
            table[redirection.fd] = table[found.number]
    return table[0], table[1], table[2]
