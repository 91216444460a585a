"""Long lists in several lines of bounded size, in answers and in pushes."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import NamedTuple

import msgspec
from msgspec import Raw, Struct, structs

from corral.protocol.lines import REPLY_LIMIT, Envelope, reply_line
from corral.protocol.requests import LISTS

PART_BYTES = 2 << 20
"""Of a line, plus one item. It takes some ten milliseconds to make."""

_encoder = msgspec.json.Encoder()


class ListReply(NamedTuple):
    """A `Jobs` reply that is made as it is sent: encoded jobs, some at a time, and the other fields."""

    slices: AsyncIterator[bytes]
    rest: bytes


async def list_lines(number: int, reply: ListReply, *, in_parts: bool) -> AsyncIterator[bytes]:
    """Its lines. A client without support for parts gets one, with as many of the newest jobs as fit."""
    waiting: deque[bytes] = deque()
    size = 0
    async for one in reply.slices:
        if in_parts and size >= PART_BYTES:
            yield b'{"id":%d,"part":[%s]}\n' % (number, b",".join(waiting))
            waiting.clear()
            size = 0
        waiting.append(one)
        size += len(one)
        while size > REPLY_LIMIT - PART_BYTES:
            size -= len(waiting.popleft())
    yield b'{"id":%d,"ok":{"jobs":[%s],%s}\n' % (number, b",".join(waiting), reply.rest[1:])


def pieces(items: Iterable[Struct]) -> Iterator[tuple[Raw, ...]]:
    """The items, encoded, in pieces of at least `PART_BYTES`; the last is smaller, and may be empty. Made one by one."""
    piece: list[Raw] = []
    size = 0
    for item in items:
        piece.append(Raw(_encoder.encode(item)))
        size += len(piece[-1])
        if size >= PART_BYTES:
            yield tuple(piece)
            piece, size = [], 0
    yield tuple(piece)


def length(reply: Struct) -> int:
    """Of its list; 0 where it is none."""
    return len(getattr(reply, LISTS[type(reply)][0])) if type(reply) in LISTS else 0


def reply_lines(number: int, reply: Struct) -> Iterator[bytes]:
    """The lines of an answer to a client that takes lists in parts, made one by one. Raises CorralError."""
    if type(reply) not in LISTS:
        yield reply_line(number, reply)
        return
    name, _ = LISTS[type(reply)]
    last: tuple[Raw, ...] | None = None
    for piece in pieces(getattr(reply, name)):
        if last is not None:
            yield b'{"id":%d,"part":' % number + _encoder.encode(last) + b"}\n"
        last = piece
    yield reply_line(number, structs.replace(reply, **{name: last}))


class Parts:
    """The pieces of incomplete answers, of one connection."""

    def __init__(self) -> None:
        self._pieces: dict[int, list[msgspec.Raw]] = {}

    def whole(self, envelope: Envelope) -> Envelope | None:
        """The envelope, including all pieces of an answer; None for a piece."""
        if envelope.id is None:
            return envelope
        if bytes(envelope.part):
            self._pieces.setdefault(envelope.id, []).append(envelope.part)
            return None
        envelope.before = tuple(self._pieces.pop(envelope.id, ()))
        return envelope
