"""The daemon: owns the jobs of one home and serves every client, until there is nothing left to do or it is ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from corral.daemon.client_connection import ClientConnection
from corral.daemon.client_limits import Clients, TooManyClientsError
from corral.daemon.handlers import Handlers
from corral.daemon.home_watch import HomeWatch
from corral.daemon.publisher import MACHINE_SECONDS, Publisher
from corral.daemon.replace_program import ProgramReplacement
from corral.engine.engine import Engine
from corral.jobs.executor import TICK_SECONDS
from corral.model.errors import CorralError
from corral.model.home import Home
from corral.platform.files.descriptors import move_high
from corral.platform.files.peer_credentials import peer_of
from corral.platform.host import resource_errors
from corral.platform.host.daemon_log import log, log_fault
from corral.platform.process.pidfd import open_pidfd_if_possible
from corral.protocol import requests as p
from corral.protocol.lines import error_line

IDLE_SECONDS = 30.0
"""The daemon ends by itself after this time without a running job, leftovers or a client."""

ACCEPT_PAUSE_SECONDS = 0.2
LAST_WORDS_SECONDS = 2.0
"""How long an ending daemon waits for clients to read their answers."""


class Daemon:
    """Serves one engine on a socket."""

    def __init__(self, engine: Engine, *, is_private: bool = False) -> None:
        self.engine = engine
        self.is_private = is_private
        self.clients = Clients[ClientConnection]()
        self.publisher = Publisher(engine.table, engine.snapshots)
        engine.executor.is_attended = lambda job_id: any(one.attends(job_id) for one in self.clients)
        self._replacement = ProgramReplacement(self, engine.home, engine.commits, engine.handover)
        self._handlers = Handlers(self, engine, self.publisher, self._replacement)
        self.answer = self._handlers.handle
        self._complaint: str | None = None
        self._ending = asyncio.Event()
        self._idle_since: float | None = None
        self.listener: socket.socket | None = None
        """None once no client is accepted any more."""
        self.lock: int | None = None
        """The descriptor of the lock on the home; None for a private daemon."""
        self.generation = 1
        self.is_held = False
        """Whether requests are left in the sockets, before a restart in place."""
        self._must_end = False
        self._home_watch = HomeWatch(self, engine.home, engine.journal)
        self._move: asyncio.Task[None] | None = None

    # ---- connections

    def serve_home(self, lock: int, listener: socket.socket, generation: int = 1) -> None:
        """Serve the clients that connect, as the holder of the lock."""
        self.lock, self.generation = lock, generation
        self.listen_at(listener)

    def listen_at(self, listener: socket.socket) -> None:
        """Accept clients at this socket from now on."""
        loop = asyncio.get_running_loop()
        if self.listener is not None:
            loop.remove_reader(self.listener)
            self.listener.close()
        listener.setblocking(False)
        self.listener = listener
        self._home_watch.note_socket()
        loop.add_reader(listener, self._accept)

    def move_to(self, home: Home, on_refusal: Callable[[CorralError], None]) -> None:
        """Continue with the home at its new path, unless that is refused."""
        self._move = asyncio.create_task(self._replacement.follow_home(home, on_refusal))

    def serve(self, sock: socket.socket) -> None:
        """Serve one connected client."""
        connection = ClientConnection(sock, self, self.clients)
        self.clients.add(connection)
        if self.is_held:
            connection.hold()

    def serve_owner(self, sock: socket.socket) -> None:
        """Serve the owner of this private daemon. A pidfd tells its end even if a forked child keeps the socket."""
        owner, _ = peer_of(sock)
        pidfd = open_pidfd_if_possible(owner) if owner > 0 else None
        if pidfd is not None:
            asyncio.get_running_loop().add_reader(pidfd, self._note_owner_ended, pidfd)
        self.serve(sock)

    def _note_owner_ended(self, pidfd: int) -> None:
        asyncio.get_running_loop().remove_reader(pidfd)
        os.close(pidfd)
        self._ending.set()

    def _accept(self) -> None:
        assert self.listener is not None
        try:
            sock, _ = self.listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError as error:
            # EMFILE: no descriptor for another client; the connected ones go on.
            self._complain(f"cannot accept a client: {resource_errors.explanation(error)}")
            self._pause_accepting()
            return
        try:
            if not is_own_user(sock):
                self._complain("refused a client of another user")
                sock.close()
                return
            self.clients.make_room()
        except TooManyClientsError as error:
            self._complain(f"refused a client: {error}")
            _tell(sock, error_line(None, error))
            return
        self._complaint = None
        sock = socket.socket(fileno=move_high(sock.detach()))
        try:
            self.serve(sock)
        except OSError as error:
            # ENOSPC: the limit of epoll watches is reached (max_user_watches, epoll(7)).
            self._complain(f"cannot serve a client: {resource_errors.explanation(error)}")
            sock.close()

    def _complain(self, text: str) -> None:
        """Log it once, not for each client."""
        if text != self._complaint:
            self._complaint = text
            log(text)

    def _pause_accepting(self) -> None:
        """The waiting client would wake us again at once."""
        assert self.listener is not None
        loop = asyncio.get_running_loop()
        loop.remove_reader(self.listener)
        loop.call_later(ACCEPT_PAUSE_SECONDS, self._resume_accepting)

    def _resume_accepting(self) -> None:
        if self.listener is not None and not self.is_held:
            asyncio.get_running_loop().add_reader(self.listener, self._accept)

    def hold(self) -> None:
        """Read no more requests and accept no more clients; they wait in their sockets."""
        self.is_held = True
        if self.listener is not None:
            asyncio.get_running_loop().remove_reader(self.listener)
        for connection in self.clients:
            connection.hold()

    def go_on(self) -> None:
        """Process what came meanwhile."""
        self.is_held = False
        self._resume_accepting()
        for connection in self.clients:
            connection.go_on()

    async def say_leaving(self, why: Literal["restart", "end"]) -> None:
        """Tell every client, and wait until that and every answer before it was sent."""
        for connection in self.clients:
            connection.say_leaving(why)
        await self._let_answers_go()

    def forget(self, connection: ClientConnection) -> None:
        self.clients.forget(connection)
        self.publisher.drop(connection)
        self.engine.batches.client_left(connection)
        if connection.watched_jobs:
            self.note_watched_jobs()
        if self.is_private and not self.clients:
            # The owner has left or crashed: EOF ends a private daemon.
            self._ending.set()

    def note_watched_jobs(self) -> None:
        self.engine.table.on_screen = set().union(*(one.watched_jobs for one in self.clients))

    # ---- requests

    def note_answered(self, request: p.Request[Any]) -> None:
        if isinstance(request, p.Shutdown) and self._must_end:
            self._ending.set()

    # ---- life

    def end_soon(self) -> None:
        """End once the request that asks for it was answered."""
        self._must_end = True

    def end_now(self) -> None:
        self._ending.set()

    @property
    def is_ending(self) -> bool:
        return self._ending.is_set() or self._must_end

    @property
    def is_needed(self) -> bool:
        """Whether there are jobs or clients."""
        return bool(self.is_private or self.clients or not self.engine.table.is_empty)

    async def run(self) -> None:
        """Watch the jobs until the daemon is to end; then stop listening, and say so to the clients."""
        tasks = [asyncio.create_task(self._tick())]
        if not self.is_private:
            # The home of a private daemon is removed with it.
            tasks.append(asyncio.create_task(self.engine.cleaner.run()))
        try:
            await self._ending.wait()
        finally:
            self.engine.commits.end()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self.engine.deletion.end()
            await self.engine.upkeep.end()
        if self.is_private:
            await self._handlers.stop_everything("with the program that had started it")
        self._stop_listening()
        if self.is_private:
            # Before the owner sees EOF, so that nothing is left when it goes on.
            shutil.rmtree(self.engine.home.path, ignore_errors=True)
        await self.say_leaving("end")
        for connection in self.clients:
            connection.close()
        if not self.is_private:
            # Last: jobs may end until now, and that must not be lost.
            self.engine.executor.keep_histories()
            self.engine.commits.soon()

    async def _let_answers_go(self) -> None:
        """Wait until everything queued was sent: the reports on a thousand stops are more than a socket buffer holds."""
        loop = asyncio.get_running_loop()
        sent = []
        for connection in self.clients:
            sent.append(loop.create_future())
            connection.when_drained(partial(_set_done, sent[-1]))
        if sent:
            await asyncio.wait(sent, timeout=LAST_WORDS_SECONDS)

    def _stop_listening(self) -> None:
        if self.listener is None:
            return
        asyncio.get_running_loop().remove_reader(self.listener)
        with contextlib.suppress(OSError):
            self._home_watch.remove_socket()
        self.listener.close()
        self.listener = None

    async def _tick(self) -> None:
        next_machine = 0.0
        while True:
            began = time.monotonic()
            try:
                if not self.is_held:
                    self._home_watch.look()
                self.engine.executor.tick()
                self.engine.commits.for_sure()
                self.engine.upkeep.look()
                if began >= next_machine:
                    next_machine = began + MACHINE_SECONDS
                    self.publisher.sample_machine()
            except Exception as error:  # noqa: BLE001  (one job that cannot be observed must not end all)
                self._note_fault(error)
            if not (self.is_private or self.is_held):
                self.clients.drop_silent(asyncio.get_running_loop().time())
            self._watch_idleness(began)
            await asyncio.sleep(max(0.001, began + TICK_SECONDS - time.monotonic()))

    def _note_fault(self, error: Exception) -> None:
        """A tick failed. A shortage lasts for a while, and is logged once."""
        if resource_errors.is_shortage(error):
            self._complain(f"cannot look at the jobs: {resource_errors.explanation(error)}")
        else:
            log_fault("the monitor", error)

    def _watch_idleness(self, now: float) -> None:
        if self.is_private:
            return
        if self.clients or not self.engine.table.is_empty or self.engine.journal.is_dirty:
            # What could not be written yet, since the disk is full, would be lost with us.
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now
        elif now - self._idle_since >= IDLE_SECONDS:
            # First, so that no client connects in between: from now on clients start another daemon.
            self._stop_listening()
            self._ending.set()


def _tell(sock: socket.socket, line: bytes) -> None:
    """Send one line to a client that is refused. It fits into the empty socket buffer; if not, the client sees EOF."""
    with sock, contextlib.suppress(OSError):
        sock.setblocking(False)
        sock.send(line)


def _set_done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def is_own_user(sock: socket.socket) -> bool:
    """Whether the peer is of our uid, or root."""
    _, uid = peer_of(sock)
    return uid in (os.geteuid(), 0)
