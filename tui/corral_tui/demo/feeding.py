"""Writes to the stdin of a job through a pipe, without blocking."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
from collections.abc import Iterator

HUNDRED_MEGABYTES = 100_000_000
CHUNK = 250_000
_BLOCK = random.Random(1914).randbytes(CHUNK)  # noqa: S311 - only has to be reproducible


def chunks(total: int) -> Iterator[bytes]:
    """`total` incompressible bytes, always the same."""
    for start in range(0, total, CHUNK):
        yield _BLOCK[: min(CHUNK, total - start)]


def sha256_of(total: int) -> str:
    """The SHA-256 of `chunks(total)` as hexadecimal digits, computed here."""
    digest = hashlib.sha256()
    for chunk in chunks(total):
        digest.update(chunk)
    return digest.hexdigest()


async def feed(writer: int, total: int, pause: float = 0.0) -> int:
    """Write `chunks(total)`, then EOF. Returns the bytes written, fewer if the reader has gone. Closes `writer`.

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
    """Write `data`, then EOF. It is no error if the reader has gone. Closes `writer`."""
    os.set_blocking(writer, False)
    try:
        await write(writer, data)
    except BrokenPipeError:
        return
    finally:
        os.close(writer)


async def write(writer: int, data: bytes) -> None:
    """Write all of `data` to a non-blocking descriptor. Raises BrokenPipeError if the reader has gone."""
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
