"""Long lists in several lines, each of a size that nobody minds: an answer, or what a subscriber is told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Raw, Struct, structs

from corral.service.protocol import reply_line
from corral.service.replies import LISTS

PART_BYTES = 2 << 20
"""Of a line, and one item more. It takes some ten milliseconds to make."""

_encoder = msgspec.json.Encoder()


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
