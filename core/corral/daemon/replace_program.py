"""`corral daemon restart`: the daemon becomes the program of the client that asks, in the same process.

The clients lose their connections and find the new program behind the same socket, which never stops listening.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, Literal, NoReturn, Protocol

from msgspec import Struct

from corral.client.start_daemon import LAUNCH, NEVER_INHERITED
from corral.daemon.client_connection import ClientConnection
from corral.engine.handover import Handover, JobHandover, decode_table
from corral.journal.commits import Commits
from corral.measure.history import encode
from corral.model.errors import CorralError, NotSoError
from corral.model.home import Home
from corral.model.wire import from_wire, to_wire
from corral.platform.host.daemon_log import log, log_fault
from corral.platform.process.exec_in_place import block_signals, exec_program, unblock_signals
from corral.platform.process.identity import identify
from corral.protocol import requests as p
from corral.protocol.protocol_number import HANDOVER

PATIENCE_SECONDS = 3.0
"""How long to wait for requests that clients could not send again. Clients report a silent daemon after 5 s."""
_PASSES = 3
"""Of the loop, so that the handlers of signals that came before they were held have run."""


class Replaceable(Protocol):
    """The daemon, as far as another program takes its place."""

    lock: int | None
    generation: int

    @property
    def is_private(self) -> bool: ...

    @property
    def is_held(self) -> bool: ...

    @property
    def is_ending(self) -> bool: ...

    @property
    def listener(self) -> socket.socket | None: ...

    @property
    def clients(self) -> Iterable[ClientConnection]: ...

    def hold(self) -> None: ...

    def go_on(self) -> None: ...

    async def say_leaving(self, why: Literal["restart"]) -> None: ...


class ProgramReplacement(Struct, eq=False):
    """Lets the daemon become another program."""

    _daemon: Replaceable
    _home: Home
    _commits: Commits
    _handover: JobHandover

    async def follow_home(self, home: Home, on_refusal: Callable[[CorralError], None]) -> None:
        """Restart this same program, with the home at its new path."""
        environment = {to_wire(name): to_wire(value) for name, value in os.environ.items()}
        request = p.RestartDaemon(program=to_wire(sys.executable), environment=environment, reads=HANDOVER)
        report = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:
            await self.replace_program(request, report, home)
        except CorralError as error:
            on_refusal(error)
        except Exception as error:  # noqa: BLE001 - a fault of ours: the daemon goes on as it was, and says so
            log_fault("following the home", error)
            why = f"{self._home.path} cannot be followed to {home.path}: {error!r}"
            on_refusal(CorralError(why))
        finally:
            os.close(report)

    async def replace_program(self, request: p.RestartDaemon, report: int, home: Home) -> NoReturn:
        """Become the new program, which continues with every job and reports on the descriptor `report`.

        `home`: that of the daemon, by its present path.

        Raises:
            CorralError: it is not possible; nothing has changed, and the daemon goes on.
        """
        daemon = self._daemon
        self._check(request)
        try:
            await self._commits.unlocked()
        except CorralError as error:
            raise CorralError(f"daemon restart: {error}; the daemon goes on as it was") from None
        daemon.hold()
        try:
            await self._until_quiet()
            await daemon.say_leaving("restart")
            block_signals()
            try:
                for _ in range(_PASSES):
                    await asyncio.sleep(0)
                if daemon.is_ending:
                    raise NotSoError("daemon restart: the daemon is ending; the next command starts another")
                self._become(request, report, home)
            finally:
                unblock_signals()
        finally:
            for client in daemon.clients:
                client.say_leaving("stay")
            daemon.go_on()

    def _check(self, request: p.RestartDaemon) -> None:
        daemon = self._daemon
        if daemon.is_private:
            raise NotSoError("daemon restart: this daemon belongs to one program and ends with it")
        if daemon.is_held:
            raise NotSoError("daemon restart: another restart is under way")
        if daemon.is_ending or daemon.listener is None or daemon.lock is None:
            raise NotSoError("daemon restart: the daemon is ending; the next command starts another")
        if sys.platform != "linux":
            raise NotSoError(
                "daemon restart: it needs Linux; corral daemon stop --jobs leave, then corral ps"
            )
        program = from_wire(request.program)
        if not os.path.isabs(program) or not os.path.isfile(program):
            raise CorralError(f"daemon restart: {program} is not a program; the daemon goes on as it was")

    async def _until_quiet(self) -> None:
        """Wait for the requests under way that their clients could not send again."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while unfinished := self._unfinished():
            left = deadline - time.monotonic()
            if left <= 0:
                what = ", ".join(sorted({type(request).__name__ for request in unfinished.values()}))
                raise NotSoError(
                    f"daemon restart: a request is under way that cannot be interrupted ({what}); try again"
                )
            await asyncio.wait(unfinished, timeout=left)

    def _unfinished(self) -> dict[asyncio.Task[None], p.Request[Any]]:
        return {
            task: request
            for client in self._daemon.clients
            for task, (_, request) in client.under_way.items()
            if not request.may_be_cut and task is not asyncio.current_task()
        }

    def _become(self, request: p.RestartDaemon, report: int, home: Home) -> NoReturn:
        """Nothing else runs between gathering the state and the exec."""
        daemon = self._daemon
        assert daemon.lock is not None
        assert daemon.listener is not None
        self._handover.note_lives()
        process = identify(os.getpid())
        if process is None:
            raise CorralError(
                "daemon restart: /proc does not show this process; the daemon goes on as it was"
            )
        table = self._handover.gather(process)
        _check_reader(request, table)
        lock, listener = daemon.lock, daemon.listener.fileno()
        argv = [from_wire(request.program), "-P", "-m", LAUNCH, home.path, str(report)]
        argv += ["resume", str(lock), str(listener), str(daemon.generation + 1)]
        environment = {
            from_wire(name): from_wire(value)
            for name, value in request.environment.items()
            if name not in NEVER_INHERITED
        }
        try:
            _write(home, encode(table))
            exec_program(argv, environment, {report, lock, listener, *table.descriptors})
        except OSError as error:
            _forget_table(home)
            why = f"daemon restart: {argv[0]}: {error.strerror}; the daemon goes on as it was"
            log(why)
            raise CorralError(why) from None


def _check_reader(request: p.RestartDaemon, table: Handover) -> None:
    """Refuse an older program that cannot read the table, where jobs would lose an open stdin, terminal or feed."""
    if request.reads >= table.format:
        return
    if jobs := [job.id for job in table.jobs if job.held.descriptors]:
        more = f" and {len(jobs) - 1} more jobs" if jobs[1:] else ""
        raise NotSoError(
            f"daemon restart: the Corral of this command is older, and cannot take over the open stdin or terminal of job {jobs[0]}{more};"
            " the daemon goes on as it was. To go on without them: corral daemon stop --jobs leave, then corral ps"
        )


# ---- the table that the program before leaves to the next one


def read_table(home: Home) -> Handover | str:
    """The table that this process left for its next program, or why it cannot be used. Removes the file."""
    try:
        descriptor = os.open(home.handover, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            content = file.read()
        _forget_table(home)
    except OSError as error:
        return f"{home.handover}: {error.strerror}"
    found = decode_table(content, identify(os.getpid()))
    return f"{home.handover} {found}" if isinstance(found, str) else found


def _write(home: Home, content: bytes) -> None:
    """Always into a new file, 0600: an existing one is removed first."""
    _forget_table(home)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(home.handover, flags, 0o600), "wb") as file:
        file.write(content)


def _forget_table(home: Home) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(home.handover)
