"""One client of the daemon: its lines, its requests under way, and their limits."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import Any, Literal, NamedTuple, Protocol

from msgspec import Struct

from corral.daemon.client_limits import Clients
from corral.model.errors import BadLineError, CorralError
from corral.platform.files.peer_credentials import peer_of
from corral.platform.host import resource_errors
from corral.platform.host.daemon_log import log, log_fault
from corral.protocol import lines, pushes
from corral.protocol import requests as p
from corral.protocol.channel import Channel
from corral.protocol.framing import close_all
from corral.protocol.long_lists import ListReply, length, list_lines, reply_lines

MOST_REQUESTS = 20_000
"""Requests of one client under way at a time. A program may wait for thousands of jobs one by one."""
MOST_WAITING = 60 << 20
"""Bytes of requests that wait for jobs to end, which may be for ever."""
_REQUEST = 3000
"""Bytes of memory for a request under way, beside its content."""
_OBJECTS = 15
"""Python objects take at most about so many times the bytes of the line that they were decoded from."""
_OBJECT = 120
"""Bytes of one object, beside its text: there are no more objects than commas in the line."""
_ITEM = 500
"""Bytes of an item of a list that is being sent; most of its content is shared."""
CANCELLED_A_PASS = 200
HELLO_LIMIT = 16 << 10
"""Bytes of a line before hello was said."""


class Answer(NamedTuple):
    """A reply, and the descriptors that go beside it; those stay the daemon's."""

    reply: Struct | ListReply
    descriptors: tuple[int, ...] = ()


class Caller(NamedTuple):
    """Where a request came from."""

    client: ClientConnection
    descriptors: list[int]
    """That came with it. Taken out of the list by whoever keeps one; the others are closed."""


class Dispatcher(Protocol):
    """The daemon, as far as a connection knows it."""

    async def answer(self, request: p.Request[Any], caller: Caller) -> Answer:
        """Raises CorralError."""

    def note_answered(self, request: p.Request[Any]) -> None: ...

    def forget(self, connection: ClientConnection) -> None:
        """It is closed."""


class ClientConnection:
    """One client."""

    def __init__(
        self, sock: socket.socket, dispatcher: Dispatcher, limits: Clients[ClientConnection]
    ) -> None:
        self._dispatcher = dispatcher
        self._limits = limits
        self.hello: p.SayHello | None = None
        self.pid, _ = peer_of(sock)
        """Of the client; 0 where the system does not tell."""
        self.watched_jobs: frozenset[int] = frozenset()
        self.terminals: set[int] = set()
        """Jobs whose terminals it has received."""
        self.since = self._now()
        """When it connected, by the loop's clock."""
        self._tasks: dict[asyncio.Task[None], tuple[int, p.Request[Any]]] = {}
        self._waiting_bytes = self._answering_bytes = 0
        self._channel = channel = Channel(
            sock,
            HELLO_LIMIT,
            on_line=self._take,
            on_overlong=self._refuse_overlong,
            on_end=self._end,
            on_held=self._note_held,
        )
        self.push, self.when_drained, self.close = channel.send, channel.when_drained, channel.close
        self.hold, self.go_on = channel.hold, channel.go_on

    @property
    def held_bytes(self) -> int:
        """About how much memory the daemon uses for this client."""
        requests = _REQUEST * len(self._tasks) + self._channel.under_way_bytes + self._waiting_bytes
        return self._channel.held_bytes + requests + self._answering_bytes

    def is_stalled(self, seconds: float) -> bool:
        """Whether it has read nothing for so long, or there is nothing for it to read."""
        return not self._channel.unsent_bytes or self._now() - self._channel.sent_at >= seconds

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    def _note_held(self) -> None:
        self._limits.note_held(self)

    @property
    def unsent_bytes(self) -> int:
        return self._channel.unsent_bytes

    @property
    def under_way(self) -> dict[asyncio.Task[None], tuple[int, p.Request[Any]]]:
        """The requests without an answer yet, with their numbers."""
        return dict(self._tasks)

    def attends(self, job_id: int) -> bool:
        """Whether it is attached interactively: it has the job's terminal, and waits for the end of that job alone."""
        if job_id not in self.terminals or self.hello is None or self.hello.client == "library":
            return False
        requests = (request for _, request in self._tasks.values())
        return any(isinstance(one, p.WaitForJobs) and one.ids == (str(job_id),) for one in requests)

    def say_leaving(self, why: Literal["restart", "end", "stay"]) -> None:
        """Tell the client which of its requests were read, so that it knows which it may send again."""
        taken = tuple(number for number, _ in self._tasks.values())
        self._channel.send(lines.push_line(pushes.Leaving(why=why, taken=taken)))

    def _take(self, line: bytes, descriptors: list[int]) -> None:
        try:
            number, request = lines.read_request(line)
        except BadLineError as error:
            close_all(descriptors)
            self._channel.send(lines.error_line(error.number, error))
            return
        waits = isinstance(request, p.WaitForJobs)
        size = _kept_of(line)
        if len(self._tasks) >= MOST_REQUESTS or (waits and not self._may_wait(size)):
            close_all(descriptors)
            refusal = CorralError(
                f"{len(self._tasks)} requests of this client are under way, and others of other clients; wait for some of them"
            )
            self._channel.send(lines.error_line(number, refusal))
            return
        if isinstance(request, p.ListJobs) and not request.ids:
            # It waits for its turn; later requests wait in the socket, not as tasks.
            self._channel.set_busy(True)
        if isinstance(request, p.SayHello):
            self._channel.allow(lines.REQUEST_LIMIT)
            self._limits.note_greeted(self)
        if not request.has_descriptors:
            # Unexpected; kept until the answer they would add up.
            close_all(descriptors)
            descriptors = []
        task = asyncio.create_task(self._serve(number, request, descriptors))
        self._tasks[task] = (number, request)
        self._note_bytes(size, waits)
        task.add_done_callback(lambda done: self._note_done(done, size, waits))

    def _may_wait(self, size: int) -> bool:
        """Whether one more request of so many bytes may wait for jobs to end, for ever perhaps."""
        return self._waiting_bytes + size <= MOST_WAITING and self._limits.may_wait

    def _note_bytes(self, change: int, waits: bool) -> None:
        if waits:
            self._waiting_bytes += change
            self._limits.waits += 1 if change > 0 else -1
        else:
            self._channel.note_under_way(change)

    def _note_done(self, task: asyncio.Task[None], size: int, waits: bool) -> None:
        del self._tasks[task]
        self._note_bytes(-size, waits)

    async def _until_there_is_room(self) -> None:
        """Before the next answer: at most one large answer waits for the client to read it."""
        while not self._channel.has_room:
            drained = asyncio.Event()
            self._channel.when_drained(drained.set)
            await drained.wait()

    async def _serve(self, number: int, request: p.Request[Any], descriptors: list[int]) -> None:
        try:
            await self._until_there_is_room()
            await self._answer(number, await self._dispatcher.answer(request, Caller(self, descriptors)))
        except CorralError as error:
            self._channel.send(lines.error_line(number, error))
        except Exception as error:  # noqa: BLE001  (a fault in one request must not end everybody's daemon)
            self._channel.send(lines.error_line(number, _refusal(request, error)))
        finally:
            close_all(descriptors)
            self._channel.set_busy(False)
        self._dispatcher.note_answered(request)

    async def _answer(self, number: int, answer: Answer) -> None:
        """Send a long list piece by piece, as the client reads it; other clients are served in between."""
        takes_parts = self.hello is not None and self.hello.parts
        if isinstance(answer.reply, ListReply):
            async for line in list_lines(number, answer.reply, in_parts=takes_parts):
                self._channel.send(line)
                await self._until_there_is_room()
            return
        if not takes_parts:
            self._channel.send(lines.reply_line(number, answer.reply), answer.descriptors)
            return
        kept = _ITEM * length(answer.reply)
        self._answering_bytes += kept
        try:
            for place, line in enumerate(reply_lines(number, answer.reply)):
                if place:
                    await asyncio.sleep(0)
                    await self._until_there_is_room()
                self._channel.send(line, () if place else answer.descriptors)
        finally:
            self._answering_bytes -= kept
            self._note_held()

    def _refuse_overlong(self) -> None:
        self._channel.send(
            lines.error_line(
                None, BadLineError(f"a line of more than {lines.REQUEST_LIMIT} bytes; it was skipped")
            )
        )

    def _end(self) -> None:
        self._dispatcher.forget(self)
        self._cancel_some(deque(self._tasks))

    def _cancel_some(self, tasks: deque[asyncio.Task[None]]) -> None:
        """A few requests in each pass of the loop: there may be thousands."""
        for _ in range(min(CANCELLED_A_PASS, len(tasks))):
            tasks.popleft().cancel()
        if tasks:
            asyncio.get_running_loop().call_soon(self._cancel_some, tasks)


def _kept_of(line: bytes) -> int:
    """About how many bytes the request in this line takes at most."""
    return min(_OBJECTS * len(line), len(line) + _OBJECT * line.count(b","))


def _refusal(request: p.Request[Any], error: Exception) -> CorralError:
    """The error for the client: a shortage is named; anything else is a bug, with its traceback in the log."""
    what = type(request).__name__
    if resource_errors.is_shortage(error):
        log(f"request {what}: {resource_errors.explanation(error)}")
        return CorralError(f"the daemon cannot do that now: {resource_errors.explanation(error)}")
    log_fault(f"request {what}", error)
    return CorralError(
        f"the daemon failed at this request ({type(error).__name__}: {error}); corral daemon log"
    )
