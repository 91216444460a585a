"""Restarting a daemon in place, and ending one, of any protocol number. Blocking, for the command line."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from typing import Any

import msgspec
from msgspec.structs import replace

from corral.client.blocking import Client, PendingReply
from corral.client.end_daemon import END_SECONDS, wait_for_end
from corral.client.environment import surroundings
from corral.client.start_daemon import MAIN, connected, environment_of_daemon
from corral.journal.reader import JournalReader
from corral.model.errors import (
    CorralError,
    DaemonUnavailableError,
    NotSoError,
    OtherSurroundingsError,
    ProtocolMismatchError,
)
from corral.model.home import Home
from corral.model.wire import to_wire
from corral.platform.host.python_interpreter import interpreter
from corral.platform.process.identity import identify
from corral.protocol.protocol_number import HANDOVER
from corral.protocol.requests import Done, Hello, RestartDaemon, Shutdown, StartJobs

WAIT_SECONDS = 20.0
"""For requests under way (3 s), unread answers (2 s), and the start of the new program."""
_CHECK_SECONDS = 60.0
_TRIES = 3


def restart(home: Home) -> Hello:
    """Let the daemon of this home become the program of this Python, and return its greeting.

    Raises:
        DaemonUnavailableError: none runs.
        CorralError: it failed; the text says whether the daemon goes on.
    """
    check_own_program()
    _check_journal(home)
    for _ in range(_TRIES):
        with Client.connect(home, start=False, any_protocol=True) as client:
            before = client.hello
            word = _ask(client, home)
        if word == "ready":
            break
        if word:
            raise CorralError(f"daemon restart: {word}; the jobs go on, corral ps takes them over")
        _check_why_silent(home, before)
    with Client.connect(home, start=False) as client:
        return client.hello


def replace_idle_daemon(home: Home) -> bool:
    """Replace an idle daemon by one started from here, which gets the limits and standing of this process.

    Returns:
        False where jobs have not ended; the daemon goes on then.

    Raises:
        CorralError: none could be started.
    """
    interpreter()
    with (
        contextlib.suppress(DaemonUnavailableError),
        Client.connect(home, start=False, any_protocol=True) as client,
    ):
        before = identify(client.daemon_pid)
        try:
            shut_down(client, Shutdown())
        except NotSoError:
            return False
        # In another pid namespace it is not seen to end.
        client.wait_until_dropped(END_SECONDS)
        wait_for_end(before)
    connected(home, start=True).close()
    return True


def what_differs(client: Client) -> str | None:
    """A sentence on what a job that is started from here could not get from that daemon; None if there is nothing, or the
    daemon is too old or new to say."""
    own = replace(surroundings(cwd="/"), environment={})
    try:
        client.call(StartJobs(specs=(), surroundings=own))
    except OtherSurroundingsError as error:
        return str(error)
    except ProtocolMismatchError:
        return None
    return None


def check_own_program() -> None:
    """Raise CorralError unless this Python can load the program of the daemon."""
    program = interpreter()
    argv = [program, "-P", "-c", f"import {MAIN}"]
    tried = subprocess.run(
        argv, env=environment_of_daemon(), cwd="/", capture_output=True, timeout=_CHECK_SECONDS, check=False
    )
    if tried.returncode:
        said = tried.stderr.decode(errors="replace").strip().splitlines() or [f"status {tried.returncode}"]
        raise CorralError(
            f"daemon restart: {program} cannot load the daemon ({said[-1]}); nothing was restarted"
        )


def _check_journal(home: Home) -> None:
    """Refuse if this version could not use the journal: the daemon would end right after its restart."""
    try:
        JournalReader.open(home).close()
    except CorralError as error:
        raise CorralError(f"daemon restart: {error}; nothing was restarted") from None


def _ask(client: Client, home: Home) -> str:
    """The report of the new program: `ready`, or why not; empty if it ended without one."""
    environment = {to_wire(name): to_wire(value) for name, value in environment_of_daemon().items()}
    reader, writer = os.pipe()
    try:
        request = RestartDaemon(program=to_wire(interpreter()), environment=environment, reads=HANDOVER)
        try:
            pending = client.begin(request, (writer,))
        finally:
            os.close(writer)
        return _report(client, pending, reader, home)
    finally:
        os.close(reader)


def _report(client: Client, pending: PendingReply[Done], reader: int, home: Home) -> str:
    deadline = time.monotonic() + WAIT_SECONDS
    said = b""
    poller = select.poll()
    poller.register(reader, select.POLLIN)
    poller.register(client.fileno(), select.POLLIN)
    while not said.endswith(b"\n"):
        ready = [descriptor for descriptor, _ in poller.poll(max(0.0, deadline - time.monotonic()) * 1000)]
        if not ready:
            raise CorralError(f"daemon restart: no answer within {WAIT_SECONDS:g} s; see {home.daemon_log}")
        if client.fileno() in ready and not _goes_on(pending):
            poller.unregister(client.fileno())
        if reader in ready:
            piece = os.read(reader, 4096)
            if not piece:
                break
            said += piece
            deadline = time.monotonic() + WAIT_SECONDS
    return said.decode(errors="replace").strip()


def _goes_on(pending: PendingReply[Done]) -> bool:
    """Whether the old program is still there. Raises CorralError if it refuses."""
    try:
        pending.result(0)
    except DaemonUnavailableError:
        return False
    return True


def _check_why_silent(home: Home, before: Hello) -> None:
    """Return if another restart came in between; else raise CorralError."""
    try:
        with Client.connect(home, start=False, any_protocol=True) as client:
            if client.hello.generation > before.generation:
                return
    except DaemonUnavailableError:
        pass
    raise CorralError(
        "daemon restart: the new program ended before it was ready; the jobs go on, corral ps takes them over;"
        f" see {home.daemon_log}"
    )


class _Report(msgspec.Struct):
    survivors: tuple[Any, ...] = ()


class _Reports(msgspec.Struct):
    """The part of the reply to `Shutdown` that is the same in every protocol number."""

    reports: tuple[_Report, ...] = ()


def shut_down(client: Client, request: Shutdown) -> int:
    """End a daemon of another protocol number; returns the number of surviving processes. Raises CorralError."""
    reply = client.begin(request).raw()
    return sum(len(report.survivors) for report in msgspec.json.decode(reply, type=_Reports).reports)
