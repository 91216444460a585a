"""The asyncio client, used by the dashboard and the library."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Self

import msgspec

from corral.client.connection import Connection, checked
from corral.client.end_daemon import wait_for_end
from corral.client.liveness import SILENT_SECONDS
from corral.client.send_input import send
from corral.client.snapshot import Snapshot
from corral.client.start_daemon import START_SECONDS, await_report, connected, launch
from corral.model.errors import CorralError, DaemonUnavailableError, NotOpenError
from corral.model.home import Home
from corral.model.reports import StopReport
from corral.model.spec import Origin
from corral.platform.process.identity import ProcessIdentity, identify
from corral.protocol import lines
from corral.protocol.channel import Channel
from corral.protocol.framing import close_all
from corral.protocol.protocol_number import FIRST_QUEUED
from corral.protocol.pushes import Push
from corral.protocol.requests import Hello, OpenInput, Reply_, Request, Shutdown, Subscribe, WatchJobs

RETRY_SECONDS = 3.0
QUICK_RETRIES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
"""Seconds until the first tries after the connection broke: a restart in place takes about 0.2 s."""
TROUBLE_SECONDS = 0.5
"""How long a connection has to be broken until a screen shows it."""
LEAVE_SECONDS = 30.0
"""For a private daemon to end once its jobs have: it looks once more, with the usual grace."""
LIVENESS_CHECK_SECONDS = 1.0
"""How often a screen checks whether it has heard from its daemon."""
LEFT = "the manager is not open any more: use it and its jobs inside its `async with` block"
SILENT = "daemon does not answer"
"""The trouble of a snapshot whose daemon is there but silent."""


class Session:
    """A connection to a daemon, on the running loop. Implements `corral.client.source.Source`."""

    def __init__(self, home: Home, origin: Origin, sock: socket.socket, *, is_private: bool = False) -> None:
        self.home = home
        self._origin: Origin = origin
        self.is_private = is_private
        self._owner = os.getpid()
        self._waiting: dict[int, asyncio.Future[lines.Envelope]] = {}
        self._connection = Connection(home, origin, is_private=is_private)
        self._hurry = asyncio.Event()
        self._watched: WatchJobs | None = None
        """The last request of this kind, repeated after a reconnection."""
        self._beside: dict[int, list[int]] = {}
        """Descriptors that came with answers that were not processed yet, by number."""
        self._snapshot = Snapshot()
        self._daemon: ProcessIdentity | None = None
        self._arriving: Snapshot | None = None
        """An incomplete one, of which more is to come."""
        self._changed: list[asyncio.Future[Snapshot]] = []
        self._subscription: Subscribe | None = None
        self._loop = asyncio.get_running_loop()
        self._is_left = False
        """Closing: no new request is accepted."""
        self._is_closed = False
        self._retry: asyncio.Task[None] | None = None
        self._on_gone: Callable[[], None] | None = None
        self.last_trouble: str | None = None
        """Why the last attempt to reconnect failed."""
        self.hello: Hello | None = None
        self._heard = time.monotonic()
        self._channel = self._channel_on(sock)

    # ---- beginning

    @classmethod
    async def connect(cls, home: Home, *, start: bool = True, origin: Origin = "library") -> Self:
        """Connect to the daemon of this home, starting one when none runs and `start` is true.

        Raises:
            DaemonUnavailableError: none runs or none could be started.
            ProtocolMismatchError: it is of another protocol number.
        """
        for _ in range(20):
            sock = await asyncio.to_thread(lambda: connected(home, start=start))
            session = cls(home, origin, sock)
            try:
                await session._greet()
            except DaemonUnavailableError:
                # EOF before hello: an idle daemon was just ending.
                session._channel.close()
                continue
            except BaseException:
                session._is_closed = True
                session._channel.close()
                raise
            return session
        raise DaemonUnavailableError(f"the daemon hangs up before it says hello; see {home.daemon_log}")

    @classmethod
    async def open_private(
        cls, *, parallel: int | None = None, home: Home | None = None, origin: Origin = "library"
    ) -> Self:
        """Start a private daemon on a temporary home (or `home`, which it then removes). It ends with this program.

        Raises:
            DaemonUnavailableError: it could not be started.
        """
        home = home or Home(tempfile.mkdtemp(prefix="corral-"))
        ours, theirs = socket.socketpair()
        try:
            launched = launch(home, "private", "4", str(parallel or 0), passed=(theirs.fileno(),))
            await asyncio.to_thread(await_report, launched, home, START_SECONDS)
            theirs.close()
            session = cls(home, origin, ours, is_private=True)
            await session._greet()
        except BaseException:
            ours.close()
            theirs.close()
            await asyncio.to_thread(shutil.rmtree, home.path, ignore_errors=True)
            raise
        return session

    async def _greet(self) -> None:
        self.hello = checked(await self._ask_here(self._connection.greeting))
        self._daemon = identify(self.hello.pid)

    def _channel_on(self, sock: socket.socket) -> Channel:
        return Channel(
            sock,
            lines.REPLY_LIMIT,
            on_line=self._take,
            on_overlong=self._refuse_overlong,
            on_end=self._note_end,
            hears_last_words=True,
        )

    # ---- the methods of a Source

    @property
    def snapshot(self) -> Snapshot:
        return self._snapshot

    async def subscribe(self, queued: int = FIRST_QUEUED) -> None:
        """Return once the first whole snapshot is here, with so many of the queued jobs. Again: with more of them."""
        self._subscription = Subscribe(queued=queued)
        first = asyncio.ensure_future(self.changed())
        self._heard = time.monotonic()
        self._check_liveness()
        await self.call(self._subscription)
        await first

    async def changed(self) -> Snapshot:
        """Wait for a newer snapshot."""
        future: asyncio.Future[Snapshot] = asyncio.get_running_loop().create_future()
        self._changed.append(future)
        return await future

    async def call(self, request: Request[Reply_], descriptors: Sequence[int] = ()) -> Reply_:
        """Send a request and wait for the reply.

        Raises:
            CorralError: as the daemon says, or DaemonUnavailableError where it is gone.
        """
        reply, beside = await self.call_beside(request, descriptors)
        close_all(beside)
        return reply

    async def call_beside(
        self, request: Request[Reply_], descriptors: Sequence[int] = ()
    ) -> tuple[Reply_, list[int]]:
        """The same, and the descriptors that came beside the reply, which the caller closes."""
        self.check_usable()
        return await self._call(request, descriptors)

    async def send_input(self, job: str, data: bytes) -> None:
        """Write to the stdin of a job, or type on its terminal; waits while it does not read.

        If cancelled, the rest is not written. Raises CorralError.
        """
        _, beside = await self.call_beside(OpenInput(job=job))
        if not beside:
            raise CorralError(f"job {job}: its stdin was not passed on: no file descriptor is free here")
        await send(beside[0], data)

    def check_usable(self) -> None:
        """Raises NotOpenError after `close`, in a forked child, and outside the event loop that opened it."""
        if os.getpid() != self._owner:
            raise NotOpenError(
                "this connection belongs to the process that opened it; a forked child opens its own"
            )
        if self._is_left:
            raise NotOpenError(LEFT)
        if asyncio.get_running_loop() is not self._loop:
            raise NotOpenError(
                "this connection belongs to the event loop that it was opened in; another loop or thread opens its own"
            )

    async def _call(
        self, request: Request[Reply_], descriptors: Sequence[int] = ()
    ) -> tuple[Reply_, list[int]]:
        if isinstance(request, WatchJobs):
            self._watched = request
        if self._is_closed or (self.is_private and not self._channel.is_open):
            raise DaemonUnavailableError("the daemon is gone; its jobs go on")
        number, line = self._connection.next_line(request)
        asked = self._connection.note_open(number, request, descriptors)
        answer = self._expect(number)
        try:
            if self._channel.is_open:
                self._channel.send(line, descriptors)
                # EPIPE closes the channel: an incomplete line is no request and was not carried out.
                asked.is_sent = self._channel.is_open
            else:
                self._start_reconnecting(is_wanted=request.again(0.0) is None)
            reply = lines.read_reply(await answer, request)
            return reply, self._beside.pop(number, [])
        finally:
            self._connection.open_requests.pop(number, None)
            # Left over if this call was cancelled when its answer had come.
            close_all(self._beside.pop(number, ()))

    def _expect(self, number: int) -> asyncio.Future[lines.Envelope]:
        future: asyncio.Future[lines.Envelope] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        future.add_done_callback(lambda _: self._waiting.pop(number, None))
        return future

    async def _ask_here(self, request: Request[Reply_]) -> Reply_:
        """Send a request that is not repeated on another connection. DaemonUnavailableError if this one ends."""
        if not self._channel.is_open:
            raise DaemonUnavailableError("the daemon has gone away")
        number, line = self._connection.next_line(request)
        answer = self._expect(number)
        self._channel.send(line)
        return lines.read_reply(await answer, request)

    async def close(self) -> None:
        """Disconnect; a private daemon ends with all its jobs."""
        await self.end()

    async def end(self) -> tuple[StopReport, ...]:
        """The same. Returns the reports of what a private daemon stopped."""
        if self._is_left or os.getpid() != self._owner:
            return ()
        self._is_left = True
        try:
            return await self._end_daemon()
        finally:
            # Even if cancelled: EOF ends a private daemon with its jobs.
            self._is_closed = True
            if self._retry is not None:
                self._retry.cancel()
            self._channel.close()

    async def _end_daemon(self) -> tuple[StopReport, ...]:
        """End the daemon if it is private."""
        reports: tuple[StopReport, ...] = ()
        if self.is_private and self._channel.is_open:
            try:
                reports = (await self._call(Shutdown(jobs="stop")))[0].reports
            except (DaemonUnavailableError, NotOpenError):
                # It has ended already.
                reports = ()
            await self._until_gone()
        elif self.is_private:
            # Either our end was closed by a fault, then the daemon is ending now; or the daemon was killed.
            await asyncio.to_thread(wait_for_end, self._daemon)
        if self.is_private and await asyncio.to_thread(os.path.isdir, self.home.path):
            # It was killed, and its jobs go on: another private daemon takes them over and ends them.
            reports += await (await Session.open_private(home=self.home, origin=self._origin)).end()
        return reports

    async def _until_gone(self) -> None:
        """Wait for the private daemon's EOF, so that its home is gone when we return."""
        gone = asyncio.get_running_loop().create_future()
        self._on_gone = lambda: None if gone.done() else gone.set_result(None)
        if not self._channel.is_open:
            return
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await gone
        except TimeoutError:
            raise CorralError(f"the private daemon did not end; see {self.home.daemon_log}") from None

    # ---- lines

    def _take(self, line: bytes, descriptors: list[int]) -> None:
        self._heard = time.monotonic()
        number = self._answered_by(line)
        if number is None:
            close_all(descriptors)  # its caller is gone
        elif descriptors:
            self._beside[number] = descriptors

    def _answered_by(self, line: bytes) -> int | None:
        """Process a line; the number of the request that it answers."""
        try:
            envelope = self._connection.take(line)
            if envelope is None:
                return None
            if envelope.event is not None:
                self._take_push(lines.read_push(line))
                return None
        except msgspec.DecodeError:
            # Not our protocol.
            self._channel.close()
            return None
        waiting = self._waiting.get(envelope.id) if envelope.id is not None else None
        if waiting is None or waiting.done():
            return None
        waiting.set_result(envelope)
        return envelope.id

    def _take_push(self, push: Push) -> None:
        snapshot = (self._arriving or self._snapshot).having(push)
        self._arriving = snapshot if push.more else None
        if not push.more:
            self._replace(snapshot)

    def _check_liveness(self) -> None:
        """A subscriber receives something every two seconds; otherwise the daemon is suspended or hangs."""
        if self._is_closed:
            return
        if self._channel.is_open and time.monotonic() - self._heard > 2 * SILENT_SECONDS:
            if self._snapshot.trouble is None:
                self._replace(self._snapshot.in_trouble(SILENT))
        elif self._snapshot.trouble == SILENT:
            self._replace(self._snapshot.in_trouble(None))
        asyncio.get_running_loop().call_later(LIVENESS_CHECK_SECONDS, self._check_liveness)

    def _replace(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        waiting, self._changed = self._changed, []
        for future in waiting:
            if not future.done():
                future.set_result(snapshot)

    def _refuse_overlong(self) -> None:
        """Fail all requests: the answer that was skipped may be of any of them, and would be as long again."""
        error = CorralError(f"the daemon sent a line of more than {lines.REPLY_LIMIT} bytes")
        self._fail(list(self._waiting), error)
        self._connection.open_requests.clear()

    def _note_end(self) -> None:
        if self._on_gone is not None:
            self._on_gone()
        gone: CorralError = DaemonUnavailableError("the daemon has gone away; its jobs go on")
        if self._is_left:
            gone = NotOpenError(LEFT)
        if self.is_private or self._is_closed:
            self._connection.open_requests.clear()
        for number, envelope in self._connection.settle().items():
            self._answer(number, envelope)
        self._fail(self._waiting.keys() - self._connection.open_requests.keys(), gone)
        if self.is_private and self._subscription is not None and not self._is_closed:
            self._replace(self._snapshot.in_trouble("daemon gone"))
        elif self._retry is None and (self._subscription is not None or self._connection.open_requests):
            self._start_reconnecting()

    def _answer(self, number: int, envelope: lines.Envelope) -> None:
        waiting = self._waiting.get(number)
        if waiting is not None and not waiting.done():
            waiting.set_result(envelope)

    def _fail(self, numbers: Iterable[int], error: CorralError) -> None:
        for number in numbers:
            waiting = self._waiting.get(number)
            if waiting is not None and not waiting.done():
                waiting.set_exception(error)

    # ---- reconnecting

    def _start_reconnecting(self, *, is_wanted: bool = False) -> None:
        """Start reconnecting, or hurry. If the daemon was ended on purpose, only a new request starts another."""
        is_new = self._subscription is None and not any(
            asked.was_sent for asked in self._connection.open_requests.values()
        )
        if is_wanted or is_new:
            self._connection.want_daemon()
        if self._retry is None and not self._is_closed:
            self._retry = asyncio.create_task(self._reconnect())
        self._hurry.set()

    async def _reconnect(self) -> None:
        """Retry until a daemon answers: at once, soon, then every few seconds while a screen is open.

        A daemon is started if a request is open, or if there are jobs to be taken over.
        """
        pauses = itertools.chain(QUICK_RETRIES, itertools.repeat(RETRY_SECONDS))
        while not self._is_closed:
            try:
                await self._try_reconnecting()
                if self._channel.is_open:
                    break
            except (CorralError, OSError) as error:
                self.last_trouble = str(error)
                self._note_trouble(error)
            if not (self._subscription is not None or self._connection.open_requests):
                break
            self._hurry.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(next(pauses)):
                    await self._hurry.wait()
        self._retry = None

    async def _try_reconnecting(self) -> None:
        """One attempt: connect, greet, and repeat the open requests. Raises CorralError, OSError."""
        start = bool(self._connection.open_requests) or await asyncio.to_thread(_has_unended_jobs, self.home)
        sock = await asyncio.to_thread(lambda: self._connection.dialled(start=start))
        if self._is_closed:
            sock.close()
            return
        self._channel = self._channel_on(sock)
        await self._greet()
        self._connection.note_connected()
        if self._subscription is not None:
            await self._ask_here(self._subscription)
            if self._watched is not None:
                await self._ask_here(self._watched)
        for number, asked in list(self._connection.open_requests.items()):
            if not asked.is_sent and self._channel.is_open:
                self._channel.send(lines.request_line(number, asked.request), asked.descriptors)
                asked.is_sent = self._channel.is_open

    def _note_trouble(self, error: Exception) -> None:
        """A screen shows it once it lasts; open requests fail once it is time to give up."""
        try:
            self._connection.check_patience(error)
        except DaemonUnavailableError as gave_up:
            self._fail(list(self._connection.open_requests), gave_up)
            self._connection.open_requests.clear()
        if self._subscription is not None and self._connection.broken_for() >= TROUBLE_SECONDS:
            self._replace(self._snapshot.in_trouble(f"daemon gone, retrying {RETRY_SECONDS:g}s"))


def _has_unended_jobs(home: Home) -> bool:
    from corral.journal.reader import JournalReader  # here: the dashboard's first paint needs no journal

    try:
        reader = JournalReader.open(home)
    except CorralError:
        return False
    try:
        return bool(reader.unended_ids())
    finally:
        reader.close()
