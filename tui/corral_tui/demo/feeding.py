"""Bytes for the stdin of a job, through a pipe, never blocking."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
from collections.abc import Iterator

HUNDRED_MEGABYTES = 100_000_000
CHUNK = 250_000
_BLOCK = random.Random(1914).randbytes(CHUNK)  # noqa: S311 - it only has to be the same every time


def chunks(total: int) -> Iterator[bytes]:
    """`total` bytes that do not compress, always the same ones."""
    for start in range(0, total, CHUNK):
        yield _BLOCK[: min(CHUNK, total - start)]


def sha256_of(total: int) -> str:
    """The SHA-256 of `chunks(total)` as hexadecimal digits, computed here."""
    digest = hashlib.sha256()
    for chunk in chunks(total):
        digest.update(chunk)
    return digest.hexdigest()


async def feed(writer: int, total: int, pause: float = 0.0) -> int:
    """Write `chunks(total)`, then EOF; how many bytes were taken: fewer where the reader has gone. Owns `writer`.

    Args:
        pause: seconds between two chunks.
    """
    taken = 0
    os.set_blocking(writer, False)
    try:
        for chunk in chunks(total):
            await write(writer, chunk)
            taken += len(chunk)
            await asyncio.sleep(pause)
    except BrokenPipeError:
        return taken
    finally:
        os.close(writer)
    return taken


async def give(writer: int, data: bytes) -> None:
    """Write `data`, then EOF. A reader that has gone, or closed early, is no error. Owns `writer`."""
    os.set_blocking(writer, False)
    try:
        await write(writer, data)
    except BrokenPipeError:
        return
    finally:
        os.close(writer)


async def write(writer: int, data: bytes) -> None:
    """Write all of `data` to a descriptor that does not block. Raises BrokenPipeError where nobody reads any more."""
    loop = asyncio.get_running_loop()
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(writer, view) :]
        except BlockingIOError:
            room: asyncio.Future[None] = loop.create_future()
            loop.add_writer(writer, lambda room=room: room.done() or room.set_result(None))  # type: ignore[misc]
            try:
                await room
            finally:
                loop.remove_writer(writer)
