"""Helper processes: programs that answer a question for the daemon, run beside the loop, bounded in time and in output."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

from corral.model.text import one_line

GRACE_SECONDS = 0.5
"""How much longer a helper lives than its output is read."""

_POLL_SECONDS = 0.002


class HelperOutput(NamedTuple):
    """What a helper wrote. `is_whole`: it closed both streams by itself, in time, and within the limit."""

    out: bytes
    err: bytes
    is_whole: bool


class _TooMuchError(Exception):
    """A helper wrote more than it may."""


class _HelperOutput:
    """Reads one pipe into memory until its end or until there is too much."""

    def __init__(self, fd: int, limit: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._fd = fd
        self._limit = limit
        self.content = bytearray()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        os.set_blocking(fd, False)
        self._loop.add_reader(fd, self._read)

    def _read(self) -> None:
        try:
            piece = os.read(self._fd, 65536)
        except BlockingIOError:
            return
        self.content += piece
        if len(self.content) > self._limit:
            self._loop.remove_reader(self._fd)
            self.ended.set_exception(_TooMuchError())
        elif not piece:
            self._loop.remove_reader(self._fd)
            self.ended.set_result(None)

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        self.ended.cancel()


async def run_helper(
    argv: Sequence[str], seconds: float, limit: int, reap: Callable[[], None]
) -> HelperOutput:
    """Run a program with an empty stdin, in `/`, without the environment of any user, and collect what it writes.

    If it takes longer than `seconds` or writes more than `limit` bytes to either stream, or if the caller is cancelled, its
    pipes are closed, and its own alarm ends it `GRACE_SECONDS` later, even if this daemon is gone. It is never signalled;
    `reap`, which reaps any child that has ended, is called after that. Must be called on the loop's own thread: another
    one could start it while a job's mark is set.

    Raises:
        OSError: it could not be started.
    """
    with ExitStack() as cleanup:
        process = _started(argv, seconds + GRACE_SECONDS)
        cleanup.callback(_leave_to_reaper, process, seconds + 2 * GRACE_SECONDS, reap)
        assert process.stdout is not None
        assert process.stderr is not None
        streams = []
        for pipe in (process.stdout, process.stderr):
            cleanup.callback(pipe.close)
            streams.append(_HelperOutput(pipe.fileno(), limit))
            cleanup.callback(streams[-1].close)
        out, err = streams
        done, late = await asyncio.wait(
            (out.ended, err.ended), timeout=seconds, return_when=asyncio.FIRST_EXCEPTION
        )
        is_whole = not late and all(one.exception() is None for one in done)
        if is_whole:
            await _ended(process)
        return HelperOutput(bytes(out.content), bytes(err.content), is_whole)


def _started(argv: Sequence[str], lifetime: float) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd="/",
        env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
        # A timer of the process survives its exec (setitimer(2)), and SIGALRM ends what does not catch it.
        preexec_fn=partial(signal.setitimer, signal.ITIMER_REAL, lifetime),
    )


async def _ended(process: subprocess.Popen[bytes]) -> None:
    """Wait for one that has closed its streams, and reap it."""
    for _ in range(round(GRACE_SECONDS / _POLL_SECONDS)):
        if process.poll() is not None:
            return
        await asyncio.sleep(_POLL_SECONDS)


def _leave_to_reaper(process: subprocess.Popen[bytes], lifetime: float, reap: Callable[[], None]) -> None:
    """The handle of one that still runs must not wait for its pid later: it is reaped like an orphan."""
    if process.poll() is None:
        process.returncode = 0
        asyncio.get_running_loop().call_later(lifetime, reap)


async def ask_helper(
    argv: Sequence[str], seconds: float, limit: int, reap: Callable[[], None], name: str
) -> HelperOutput | str:
    """The whole output of a helper called `name`, or a sentence that says why there is none."""
    try:
        output = await run_helper(argv, seconds, limit, reap)
    except OSError as error:
        return f"{one_line(argv[0])}: {error.strerror}"
    return output if output.is_whole else f"{name} took longer than {seconds:g} s, or said too much"
