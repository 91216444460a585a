"""Input for a running job: written to its stdin, or typed on its terminal, through a descriptor that the daemon lends."""

from __future__ import annotations

import asyncio
import os
import threading

from corral.platform.files.stdin_writer import Sender


async def send(descriptor: int, data: bytes) -> None:
    """Write `data` to a descriptor that is ours to close; waits while nobody reads. If cancelled, the rest is not written.

    Raises:
        CorralError: it takes no more.
    """
    # The open file description is shared with the daemon, so it must stay blocking; a thread waits instead.
    given_up = threading.Event()
    sending = asyncio.get_running_loop().run_in_executor(None, _send, descriptor, data, given_up)
    try:
        await asyncio.shield(sending)  # the thread owns the descriptor, so it has to run
    except asyncio.CancelledError:
        sending.add_done_callback(_forget)
        raise
    finally:
        given_up.set()


def _forget(sending: asyncio.Future[None]) -> None:
    """Retrieve the error of an abandoned write, such as EPIPE; otherwise asyncio would log it."""
    if not sending.cancelled():
        sending.exception()


def _send(descriptor: int, data: bytes, given_up: threading.Event) -> None:
    """Runs in a thread, which owns the descriptor: the caller must not close it during a write."""
    try:
        if not given_up.is_set():
            Sender(descriptor, lambda _: not given_up.is_set()).send(data)
    finally:
        os.close(descriptor)
