"""Input for a running job: written to its stdin, or typed on its terminal, through a descriptor that the daemon lends."""

from __future__ import annotations

import asyncio
import os
import threading

from corral.system.sending import Sender


async def send(descriptor: int, data: bytes) -> None:
    """Write `data` to a descriptor that is ours to close; waits while nobody reads. Cancelled, it leaves the rest.

    Raises:
        CorralError: it takes no more.
    """
    # The description is shared with the daemon, so it stays blocking; a thread of ours waits instead.
    given_up = threading.Event()
    sending = asyncio.get_running_loop().run_in_executor(None, _send, descriptor, data, given_up)
    try:
        await asyncio.shield(sending)  # it owns the descriptor, so it has to run
    except asyncio.CancelledError:
        sending.add_done_callback(_forget)
        raise
    finally:
        given_up.set()


def _forget(sending: asyncio.Future[None]) -> None:
    """Of one that was given up it does not matter how it ended, as with EPIPE; asyncio would log that nobody asked."""
    if not sending.cancelled():
        sending.exception()


def _send(descriptor: int, data: bytes, given_up: threading.Event) -> None:
    """In a thread of its own, which owns the descriptor: who gave up must not close it under a write."""
    try:
        if not given_up.is_set():
            Sender(descriptor, lambda _: not given_up.is_set()).send(data)
    finally:
        os.close(descriptor)
