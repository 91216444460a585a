"""A pipeline that is watched and peeked at without pause ends as one that nobody looks at: SIGPIPE, EOF, every byte."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import corral
from corral.library.job_handle import JobHandle
from corral.platform.files.pipes import pipe_of
from corral.protocol.requests import ListProcesses, PeekPipes, ShowJob, WatchJobs
from managers import eventually, opened, state_is

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pipes are seen from outside on Linux only")
PEEKED_BYTES = 64 << 10
LOOKS = 8
"""Rounds of looks that a job has to go through before what is tested happens."""


class Watcher:
    """Looks at one job by every means there is, one look after the other."""

    def __init__(self, manager: corral.JobManager, handle: JobHandle) -> None:
        self._session = manager.session
        self._handle = handle
        self._looking = asyncio.create_task(self._look_on())
        self.rounds = 0
        self.note: str | None = None
        self.seen = b""
        """What the last peek showed that was not empty."""

    async def _look_on(self) -> None:
        number = self._handle.id
        await self._session.subscribe()
        await self._session.call(WatchJobs(ids=(number,)))
        while True:
            for request in (ShowJob(job=number), ListProcesses(job=number), PeekPipes(job=number)):
                await self._session.call(request)
            await self._handle.why()
            for _ in range(5):
                peeked = await self._session.call(PeekPipes(job=number, pipe=1, bytes=PEEKED_BYTES))
                self.note, self.seen = peeked.pipes[0].note, peeked.pipes[0].content or self.seen
            self.rounds += 1

    async def has_looked(self) -> None:
        wanted = self.rounds + LOOKS
        await eventually(lambda: self.rounds >= wanted or self._looking.done(), "some looks at the job")
        assert not self._looking.done(), self._looking

    async def end(self) -> None:
        assert not self._looking.done(), self._looking
        self._looking.cancel()
        await asyncio.wait([self._looking])


@contextlib.asynccontextmanager
async def watched(line: str, directory: Path) -> AsyncIterator[tuple[JobHandle, Watcher]]:
    """The job, while it is looked at until the block ends."""
    async with opened() as manager:
        handle = await manager.start(line, cwd=str(directory))
        await state_is(handle, "running", "succeeded")
        watcher = Watcher(manager, handle)
        yield handle, watcher
        await watcher.end()


def holders(pipe: int) -> dict[int, int]:
    """Who has an end of it open, and how many."""
    found: dict[int, int] = {}
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        with contextlib.suppress(OSError):
            count = sum(pipe_of(pid, int(fd)) == pipe for fd in os.listdir(f"/proc/{pid}/fd"))
            if count:
                found[pid] = count
    return found


def opening(gate: Path) -> None:
    """Let go on whoever reads this FIFO."""
    with gate.open("wb") as file:
        file.write(b"go\n")


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "gate")
    return tmp_path / "gate"


async def test_the_writer_dies_of_sigpipe_when_the_reader_ends_and_no_end_stays_open(gate: Path) -> None:
    async with watched("yes | sh -c 'read go < gate; exec head -n 1'", gate.parent) as (handle, watcher):
        await watcher.has_looked()
        assert watcher.seen == b"y\n" * (PEEKED_BYTES // 2)
        writer, reader = (stage.pid for stage in (await handle.snapshot()).stages)
        assert writer is not None
        assert reader is not None
        pipe = pipe_of(reader, 0)
        assert pipe is not None
        await eventually(lambda: holders(pipe) == {writer: 1, reader: 1}, "only the stages to hold the pipe")
        opening(gate)
        job = await handle.wait(timeout=20)
        assert (job.state, [(one.exit_status, one.signal) for one in job.stages]) == (
            "succeeded",
            [(None, "PIPE"), (0, None)],
        )
        assert await handle.stdout() == b"y\n"
        assert holders(pipe) == {}


async def test_the_reader_sees_the_end_when_the_writer_ends(gate: Path) -> None:
    async with watched("sh -c 'echo early; read go < gate; echo late' | cat", gate.parent) as (
        handle,
        watcher,
    ):
        await watcher.has_looked()
        opening(gate)
        job = await handle.wait(timeout=20)
        assert (job.state, await handle.stdout()) == ("succeeded", b"early\nlate\n")


async def test_a_write_to_a_reader_that_is_gone_fails(gate: Path) -> None:
    async with watched("sh -c 'read go < gate; echo lost' | true", gate.parent) as (handle, watcher):

        async def reader_has_ended() -> bool:
            return (await handle.snapshot()).stages[1].ended is not None

        while not await reader_has_ended():
            await watcher.has_looked()
        await watcher.has_looked()
        assert (watcher.seen, watcher.note) == (b"", "nobody reads it any more: what is in it is lost")
        opening(gate)
        job = await handle.wait(timeout=20)
        assert job.stages[0].signal == "PIPE"


async def test_every_byte_arrives_as_it_was(tmp_path: Path) -> None:
    data = random.Random(4).randbytes(24 << 20)
    (tmp_path / "data").write_bytes(data)
    async with watched("cat data | cat | sha256sum", tmp_path) as (handle, watcher):
        job = await handle.wait(timeout=60)
        assert (job.state, (await handle.stdout()).split()[0].decode()) == (
            "succeeded",
            hashlib.sha256(data).hexdigest(),
        )
        assert watcher.seen
        assert watcher.seen in data
