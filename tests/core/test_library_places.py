"""Where a manager and its jobs can be used: inside the block, in its process, loop and thread. Elsewhere one error says so."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import threading
from collections.abc import Awaitable, Callable

import pytest

import corral
from managers import eventually, eventually_so, opened

OUTSIDE = "inside its `async with` block"


def _asks(job: corral.JobHandle) -> list[Callable[[], Awaitable[object]]]:
    """Every method of a job."""
    return [
        job.snapshot, job.wait, job.stop, job.kill, lambda: job.signal("TERM"), job.pause, job.resume, job.restart,
        job.remove, job.why, job.story, job.processes, lambda: job.send(b"x"), job.close_stdin, job.stdout, job.stderr,
        lambda: anext(job.follow()),
    ]  # fmt: skip


async def test_a_job_used_after_its_block_says_so() -> None:
    async with opened() as manager:
        job = await manager.start("cat", stdin="interactive")
    for ask in _asks(job):
        with pytest.raises(corral.NotOpenError, match=OUTSIDE):
            await ask()
    with pytest.raises(corral.NotOpenError, match=OUTSIDE):
        await manager.run("true")
    with pytest.raises(corral.NotOpenError, match=OUTSIDE):
        await corral.open().run("true")


async def test_what_is_asked_while_the_block_is_left_ends_too() -> None:
    async with opened() as manager:
        job = await manager.start("cat", stdin="interactive")
        waits = asyncio.ensure_future(job.wait())
        runs = asyncio.ensure_future(manager.run("cat", stdin="interactive"))
        while len(await manager.jobs()) < 2:
            await asyncio.sleep(0.005)
    assert (await waits).state == "stopped"
    with pytest.raises(corral.NotOpenError, match=OUTSIDE):
        await runs


async def test_a_manager_is_opened_once_at_a_time() -> None:
    async with opened() as manager:
        with pytest.raises(corral.NotOpenError, match="open already"):
            await manager.__aenter__()
        assert (await manager.run("true")).succeeded


async def test_another_loop_in_another_thread_is_told_to_open_its_own() -> None:
    async with opened() as manager:
        job = await manager.start("cat", stdin="interactive")
        caught: list[BaseException] = []

        def elsewhere() -> None:
            for ask in [lambda: manager.run("true"), *_asks(job)]:
                with contextlib.suppress(corral.NotOpenError):
                    asyncio.run(_within(ask))
                    continue
                caught.append(corral.NotOpenError())

        thread = threading.Thread(target=elsewhere)
        thread.start()
        while thread.is_alive():
            await asyncio.sleep(0.005)
        assert len(caught) == 1 + len(_asks(job))
        assert (await job.snapshot()).state == "running"


async def test_a_forked_child_is_told_to_open_its_own() -> None:
    """Also for what only reads files: of the threads that would, none is in the child (pthreads(7), fork(2))."""
    async with opened() as manager:
        job = await manager.start("cat", stdin="interactive")
        await job.stdout()  # the thread that reads is there, and idle
        child = os.fork()
        if child == 0:
            refused = 0
            for ask in [lambda: manager.run("true"), *_asks(job)]:
                try:
                    ask().__await__().send(None)  # as far as the loop is not needed, which is the parent's
                except corral.NotOpenError:
                    refused += 1
                except BaseException:
                    break
            os._exit(refused)
        status = await asyncio.to_thread(os.waitpid, child, 0)
        assert os.waitstatus_to_exitcode(status[1]) == 1 + len(_asks(job))
        assert (await job.snapshot()).state == "running"


async def test_a_send_that_was_given_up_leaves_nothing_for_the_next() -> None:
    """Its way into the job, which then came all the same, was taken for that of the next job that something was sent to."""
    async with opened() as manager:
        given_up, sent = await manager.start_many(["cat"] * 2, stdin="interactive")
        for steps in range(8):
            sending = asyncio.ensure_future(given_up.send(b"given up\n"))
            for _ in range(steps):
                await asyncio.sleep(0)
            sending.cancel()
            await asyncio.wait([sending])
            await sent.send(b"sent\n")
        await given_up.close_stdin()
        await sent.close_stdin()
        assert [job.state for job in await manager.wait([given_up, sent], timeout=20)] == ["succeeded"] * 2
        assert await sent.stdout() == b"sent\n" * 8


async def test_a_block_that_is_left_in_a_hurry_ends_its_jobs_all_the_same() -> None:
    manager = corral.open()
    await manager.__aenter__()
    job = await manager.start("cat", stdin="interactive")
    session, pid = manager.session, (await job.snapshot()).stages[0].pid
    leaving = asyncio.ensure_future(manager.__aexit__(None, None, None))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait([leaving])
    assert pid is not None
    await eventually(lambda: not os.path.exists(f"/proc/{pid}"), "the job to be ended")
    await eventually(lambda: not os.path.exists(session.home.path), "its home to be removed")


async def _within(ask: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(20):
        await ask()


async def test_a_start_that_was_cancelled_leaves_no_job_behind() -> None:
    """Nobody has a handle of it: cancelled at any moment, it starts none, or the one that began to is ended."""
    async with opened() as manager:
        for begin in (
            lambda: manager.start("sleep 100"),
            lambda: manager.run("sleep 100"),
            lambda: manager.run("sleep 100", input=b"x"),
            lambda: manager.start_many(["sleep 100"] * 501),
        ):
            starting = asyncio.ensure_future(begin())
            while not manager.session._connection.open_requests:
                await asyncio.sleep(0)
            starting.cancel()
            await asyncio.wait([starting])
            assert starting.cancelled()
        await eventually_so(lambda: _all_ended(manager), "every job to be ended", seconds=60)
        assert {job.reason for job in await manager.jobs(all=True)} <= {
            "stopped by the program that cancelled its start",
            "stopped by the program that cancelled its run",
            "never started",
        }
        assert (await manager.run("cat", input=b"fine")).stdout == b"fine"


async def _all_ended(manager: corral.JobManager) -> bool:
    return await manager.jobs(all=True) != () and await manager.jobs() == ()


async def test_a_send_that_was_given_up_says_nothing_of_its_end() -> None:
    said: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    async with opened() as manager:
        job = await manager.start("sleep 100", stdin="interactive")
        before = len(os.listdir("/proc/self/fd"))
        sending = asyncio.ensure_future(job.send(bytes(1 << 20)))
        await eventually(lambda: len(os.listdir("/proc/self/fd")) > before, "it to be sent")
        sending.cancel()
        await asyncio.wait([sending])
        await job.kill()
        await eventually(lambda: len(os.listdir("/proc/self/fd")) <= before, "its thread to let go")
    del sending
    gc.collect()
    assert said == []
