"""A manager of the test's own, and the proof afterwards that nothing of it is left."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import corral
from corral.library.job_handle import JobHandle
from corral.library.manager import JobManager
from corral.model.home import Home
from corral.platform.process import mark
from corral.platform.process.identity import identify, is_alive
from until import ZOO

_Found = TypeVar("_Found")


def nonce_of(home: Home) -> int:
    with open(home.identity_file, encoding="utf-8") as file:
        return int(json.load(file)["nonce"])


def marked(nonce: int) -> list[int]:
    """Every live process on this machine that carries a mark of that home."""
    identities = (identify(pid) for pid, _, _ in mark.scan(nonce))
    return [one.pid for one in identities if one is not None and is_alive(one)]


@contextlib.asynccontextmanager
async def opened(parallel: int | None = None) -> AsyncIterator[JobManager]:
    """`corral.open()`. Afterwards its daemon, its home and all that its jobs started are gone."""
    manager = corral.open(parallel=parallel)
    async with manager:
        home, hello = manager.session.home, manager.session.hello
        assert hello is not None
        nonce, daemon = nonce_of(home), identify(hello.pid)
        yield manager
    await eventually(lambda: not marked(nonce), "everything with the mark of this home to be gone", seconds=5)
    # A zombie has ended; the init of some containers takes seconds to reap it.
    await eventually(lambda: daemon is None or not is_alive(daemon), "the daemon to be gone", seconds=5)
    assert not os.path.exists(home.path)


async def eventually(condition: Callable[[], _Found], what: str, *, seconds: float = 20.0) -> _Found:
    """`until.until` beside a running loop."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        await asyncio.sleep(0.005)
    return found


async def eventually_so(
    condition: Callable[[], Awaitable[_Found]], what: str, *, seconds: float = 20.0
) -> _Found:
    """The same for what has to be asked for."""
    deadline = time.monotonic() + seconds
    while not (found := await condition()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        await asyncio.sleep(0.005)
    return found


def zoo_argv(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-S", "-E", os.path.join(ZOO, f"{name}.py"), *arguments]


def python(code: str) -> list[str]:
    """The argv of a Python program that starts quickly."""
    return [sys.executable, "-S", "-E", "-c", code]


async def ready(handle: JobHandle) -> str:
    """Wait until a program of the zoo has its habit in place; what it said after `ready`."""

    async def said() -> bytes | None:
        out = await handle.stdout()
        return out if out.startswith(b"ready") and b"\n" in out else None

    line = await eventually_so(said, f"{handle} to be ready")
    return line.split(b"\n")[0][5:].strip().decode()


async def state_is(handle: JobHandle, *states: str) -> corral.Job:
    """Wait until the job is in one of these states; its snapshot then."""

    async def there() -> corral.Job | None:
        job = await handle.snapshot()
        return job if job.state in states else None

    return await eventually_so(there, f"{handle} to be {' or '.join(states)}")
