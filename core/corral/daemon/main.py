"""The daemon's program: in the background, for one program, in the foreground, or in place of the daemon before."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Sequence

from corral.daemon.home_lock import take_first_lock
from corral.daemon.process_setup import close_all_but, normalise
from corral.daemon.replace_program import read_table
from corral.daemon.server import Daemon
from corral.engine.engine import Engine
from corral.engine.handover import Handover
from corral.home.directory import prepare_home
from corral.journal.journal import Journal
from corral.model.errors import CorralError
from corral.model.home import Home
from corral.platform.host.daemon_log import log, log_fault
from corral.platform.process.exec_in_place import BLOCKED, unblock_signals
from corral.protocol.address import listen


def main(path: str, report: int, how: Sequence[str]) -> int:
    """The daemon of the home `path`, as `corral.service.launch` was asked for it. Returns its exit status."""
    match how:
        case ["resume", lock, listener, generation, *_]:
            return run_resumed(path, report, int(lock), int(listener), int(generation))
        case ["private", sock, parallel, *_]:
            return run_private(path, report, int(sock), int(parallel) or None)
        case _:
            return run_background(path, report)


class StartReport:
    """The pipe on which the starter waits: `ready`, or why not."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def say(self, text: str) -> None:
        if self._descriptor is None:
            return
        with contextlib.suppress(BrokenPipeError):
            os.write(self._descriptor, os.fsencode(text) + b"\n")
        self.close()

    def note_progress(self) -> None:
        """Not yet, but it goes on: the starter waits as long again."""
        if self._descriptor is not None:
            with contextlib.suppress(BrokenPipeError):
                os.write(self._descriptor, b" ")

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


Begin = Callable[[Engine, Callable[[], None]], None]
"""Takes over what runs. The function that it gets is called while that goes on."""


def run_background(path: str, report_descriptor: int) -> int:
    """The user's daemon, already detached. The exit status: 0 also where another one runs."""
    home, report = Home(path), StartReport(report_descriptor)
    lock = take_first_lock(home)
    if lock is None:
        report.close()
        return 0
    return _run_reported(home, report, lambda daemon: daemon.serve_home(lock, listen(home)))


def run_private(path: str, report_descriptor: int, sock: int, parallel: int | None) -> int:
    """A daemon for one program, on a socketpair; its home goes with it."""
    home, report = Home(path), StartReport(report_descriptor)
    connected = socket.socket(fileno=sock)
    return _run_reported(
        home, report, lambda daemon: daemon.serve_owner(connected), is_private=True, parallel=parallel
    )


def run_foreground(home: Home) -> int:
    """The user's daemon in this very process, for service managers and for looking at it. Returns its exit status.

    Raises:
        CorralError: another one runs, or the home or its journal cannot be used.
    """
    prepare_home(home)
    lock = take_first_lock(home)
    if lock is None:
        raise CorralError(f"a daemon already runs for {home.path}; corral daemon stop ends it")
    normalise()
    os.chdir("/")
    journal = Journal.open(home)
    serving = _serve(home, journal, StartReport(None), lambda daemon: daemon.serve_home(lock, listen(home)))
    _run(journal, serving)
    return 0


def run_resumed(path: str, report_descriptor: int, lock: int, listener: int, generation: int) -> int:
    """Continue as the daemon that this process has been until now, with what its program handed over."""
    home = Home(path)
    found = read_table(home)
    handed = set() if isinstance(found, str) else found.descriptors
    close_all_but({report_descriptor, lock, listener} | handed)
    normalise(BLOCKED)

    def begin(engine: Engine, note_progress: Callable[[], None]) -> None:
        if isinstance(found, Handover):
            engine.handover.take_back(found)
        _take_over_all(engine, note_progress)
        unended = engine.table.unended_count
        how = (
            "handed over"
            if isinstance(found, Handover)
            else f"taken over as after a crash, without their open stdin: {found}"
        )
        log(f"restarted in place as program number {generation}; jobs {how}: {unended}")

    return _run_reported(
        home,
        StartReport(report_descriptor),
        lambda daemon: daemon.serve_home(lock, socket.socket(fileno=listener), generation),
        begin=begin,
        is_itself=True,
    )


def _take_over_all(engine: Engine, note_progress: Callable[[], None]) -> None:
    engine.recovery.take_over_all(note_progress)


def _run_reported(
    home: Home,
    report: StartReport,
    connect: Callable[[Daemon], None],
    *,
    begin: Begin = _take_over_all,
    is_private: bool = False,
    is_itself: bool = False,
    parallel: int | None = None,
) -> int:
    """Serve until the end whichever client `connect` connects; `begin` takes over what runs. The exit status.

    `is_itself`: the daemon of this home has been this process before.
    """
    try:
        journal = Journal.open(home, is_itself=is_itself)
    except CorralError as error:
        report.say(str(error))
        log(str(error))
        return 125
    serving = _serve(home, journal, report, connect, begin=begin, is_private=is_private, parallel=parallel)
    try:
        _run(journal, serving)
    except Exception as error:  # noqa: BLE001  (the last word before the process ends)
        report.say(f"the daemon failed: {error}; see {home.daemon_log}")
        log_fault("the daemon", error)
        return 125
    return 0


def _run(journal: Journal, serving: Coroutine[None, None, None]) -> None:
    """Run the loop to its end, and then close the journal: until no callback, timer or task is left any of them may still
    have something to note."""
    try:
        asyncio.run(serving)
    finally:
        try:
            journal.close()
        except CorralError as error:
            log(str(error))


async def _serve(
    home: Home,
    journal: Journal,
    report: StartReport,
    connect: Callable[[Daemon], None],
    *,
    begin: Begin = _take_over_all,
    is_private: bool = False,
    parallel: int | None = None,
) -> None:
    for notice in journal.notices:
        log(notice)
    engine = Engine(home, journal, parallel=parallel)
    begin(engine, report.note_progress)
    daemon = Daemon(engine, is_private=is_private)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        # Ended from outside: the jobs go on, and the next daemon finds them again.
        loop.add_signal_handler(number, daemon.end_now)
    unblock_signals()
    connect(daemon)
    report.say("ready")
    await daemon.run()
