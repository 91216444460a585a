"""The six systems that Corral exists for, through the library, with the system's real programs."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import subprocess

import pytest

import corral
from corral.library.job_handle import JobError
from corral.library.manager import JobManager
from corral.model.units import parse_signal
from managers import eventually_so, opened, python, ready, state_is, zoo_argv

pytestmark = pytest.mark.asyncio(loop_scope="module")
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")
ENCRYPT = "openssl enc -des3 -pbkdf2 -pass env:password"


def whirlpool() -> str | None:
    """The command that this machine's OpenSSL needs for a Whirlpool digest; None where it has none."""
    for providers in ("", " -provider legacy -provider default"):
        command = f"openssl dgst -whirlpool{providers} -binary"
        if subprocess.run(command.split(), input=b"", capture_output=True, check=False).returncode == 0:
            return command
    return None


# ---- 1 run and check


async def test_run_and_check(shared: JobManager) -> None:
    result = await shared.run("echo 'Hello from the child!'", check=True)
    assert (result.stdout, result.stderr, result.exit_status) == (b"Hello from the child!\n", b"", 0)
    assert result.succeeded
    assert result.job.state == "succeeded"
    failed = await shared.run(["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert (failed.stdout, failed.stderr, failed.exit_status) == (b"out\n", b"err\n", 7)
    assert (failed.job.state, failed.job.signal) == ("failed", None)
    assert failed.job.reason == "stage 1 (sh) exited with 7"
    with pytest.raises(JobError, match="exit status 7"):
        await shared.run(["sh", "-c", "exit 7"], check=True)


async def test_a_signal_that_nobody_here_sent(shared: JobManager) -> None:
    job = (await shared.run(["sh", "-c", "kill -SEGV $$"])).job
    assert (job.state, job.exit_status, job.signal) == ("failed", 139, "SEGV")
    assert job.reason == "stage 1 (sh) was ended by SIGSEGV"
    assert (job.stages[0].exit_status, job.stages[0].signal) == (None, "SEGV")


# ---- 2 poll while working


async def test_poll_while_working(shared: JobManager) -> None:
    code = "import sys\nprint('ready', flush=True)\nx = 0\nwhile not (x % 4096 == 0 and sys.stdin.read(0)): x += 1"
    handle = await shared.start(python(code))
    await ready(handle)
    first = await handle.snapshot()
    assert first.state == "running"

    async def has_been_sampled() -> bool:
        job = await handle.snapshot()
        return bool(job.cpu_percent and job.memory_bytes and job.cpu_seconds)

    other = await shared.run("echo meanwhile")
    assert other.succeeded
    await eventually_so(has_been_sampled, "its CPU and memory to be seen")
    later = await handle.snapshot()
    assert later.elapsed is not None
    assert first.elapsed is not None
    assert later.elapsed > first.elapsed
    assert later.ended is None
    assert later.stages[0].pid is not None
    await handle.kill()


async def test_the_exit_status_comes_with_the_end(shared: JobManager) -> None:
    """No tick lies between the end and its news: the end precedes what this program did after it."""
    handle = await shared.start("cat", stdin="interactive")
    await handle.close_stdin()
    job = await handle.wait(timeout=30)
    assert (job.state, job.exit_status) == ("succeeded", 0)


# ---- 3 many in parallel


async def test_ten_sleeps_overlap(shared: JobManager) -> None:
    handles = await shared.start_many(["sleep 0.5"] * 10)
    jobs = await shared.wait(handles)
    assert [job.state for job in jobs] == ["succeeded"] * 10
    starts = [job.started for job in jobs if job.started]
    ends = [job.ended for job in jobs if job.ended]
    assert max(starts) < min(ends)


async def test_two_hundred_start_and_end_and_none_is_lost() -> None:
    async with opened() as manager:
        handles = await manager.start_many([["sh", "-c", f"echo {n}; exit {n % 3}"] for n in range(200)])
        jobs = await manager.wait(handles, timeout=60)
        assert [job.exit_status for job in jobs] == [n % 3 for n in range(200)]
        assert [await handle.stdout() for handle in handles] == [b"%d\n" % n for n in range(200)]
        assert len({handle.id for handle in handles}) == 200
        assert await manager.jobs() == ()
        assert len(await manager.jobs(all=True)) == 200


async def test_no_more_than_parallel_run_at_a_time() -> None:
    async with opened(parallel=3) as manager:
        handles = await manager.start_many(["sleep 0.05"] * 12)
        jobs = await manager.wait(handles, timeout=60)
    times = [(job.started, 1) for job in jobs] + [(job.ended, -1) for job in jobs]
    running = most = 0
    for _, step in sorted(times, key=lambda entry: (entry[0], entry[1])):  # type: ignore[arg-type, return-value]
        running += step
        most = max(most, running)
    assert most == 3


async def test_who_waits_for_a_turn_says_so() -> None:
    async with opened(parallel=1) as manager:
        first = await manager.start("sleep 60")
        second = await manager.start("echo done")
        job = await second.snapshot()
        assert (job.state, job.waiting_for) == ("queued", "limit: 1 of 1 running")
        await first.kill()
        assert (await second.wait(timeout=30)).state == "succeeded"


# ---- 4 feed and read


@needs_openssl
async def test_three_encryptors_with_the_password_in_their_environment_only() -> None:
    texts = [os.urandom(10) for _ in range(6)]
    environment = {**os.environ, "password": "correct horse"}
    async with opened(parallel=3) as manager:
        for text in texts:
            sealed = await manager.run(ENCRYPT, input=text, env=environment, check=True)
            assert sealed.stdout.startswith(b"Salted__")
            clear = await manager.run(f"{ENCRYPT} -d", input=sealed.stdout, env=environment, check=True)
            assert clear.stdout == text
            assert "correct horse" not in repr(await manager.jobs(all=True))
        wrong = await manager.run(f"{ENCRYPT} -d", input=sealed.stdout, env={**environment, "password": "no"})
        assert not wrong.succeeded or wrong.stdout != text


async def test_a_hundred_megabytes_arrive_whole(shared: JobManager) -> None:
    data = os.urandom(1 << 20) * 100
    result = await shared.run("sha256sum", input=data, check=True)
    assert result.stdout.split()[0].decode() == hashlib.sha256(data).hexdigest()


async def test_a_child_that_never_reads_blocks_nothing(shared: JobManager) -> None:
    result = await shared.run(zoo_argv("never_reads"), input=b"x" * 1_000_000, timeout=0.3)
    assert result.job.state == "timed_out"
    assert (await shared.run("echo fine")).stdout == b"fine\n"


async def test_a_child_that_closes_its_stdin_early_breaks_nothing(shared: JobManager) -> None:
    result = await shared.run(["sh", "-c", "exec <&-; echo fine"], input=b"x" * 1_000_000)
    assert (result.stdout, result.job.state) == (b"fine\n", "succeeded")
    head = await shared.run("head -c 3", input=b"abc" * 1_000_000)
    assert (head.stdout, head.job.state) == (b"abc", "succeeded")


async def test_every_byte_value_comes_back(shared: JobManager) -> None:
    data = bytes(range(256)) * 300
    assert (await shared.run("cat | cat", input=data)).stdout == data
    assert (await shared.run("cat", input=b"")).stdout == b""


# ---- 5 chains


@needs_openssl
async def test_three_encryptors_each_into_a_digest(shared: JobManager) -> None:
    digest = whirlpool()
    if digest is None:
        pytest.skip("this OpenSSL has no Whirlpool")
    for _ in range(3):
        text = os.urandom(10)
        environment = {**os.environ, "password": "x"}
        result = await shared.run(f"{ENCRYPT} -S 0011223344556677 | {digest}", input=text, env=environment)
        sealed = await shared.run(f"{ENCRYPT} -S 0011223344556677", input=text, env=environment)
        expected = subprocess.run(digest.split(), input=sealed.stdout, capture_output=True, check=True)
        assert result.stdout == expected.stdout
        assert len(result.stdout) == 64
        assert [stage.exit_status for stage in result.job.stages] == [0, 0]


async def test_every_stage_keeps_its_own_end(shared: JobManager) -> None:
    job = (await shared.run("sh -c 'cat; exit 3' | sh -c 'cat; kill -HUP $$' | cat")).job
    assert [(stage.exit_status, stage.signal) for stage in job.stages] == [
        (3, None),
        (None, "HUP"),
        (0, None),
    ]
    assert (job.state, job.exit_status, job.reason) == ("failed", 3, "stage 1 (sh) exited with 3")


async def test_the_upstream_of_a_satisfied_reader_has_not_failed(shared: JobManager) -> None:
    result = await shared.run("yes | cat | head -n 1")
    assert result.stdout == b"y\n"
    assert (result.job.state, result.job.exit_status) == ("succeeded", 0)
    assert result.job.stages[0].signal == "PIPE"
    assert result.job.stages[0].state == "succeeded"


# ---- 6 time limits


async def test_a_time_limit_runs_the_stop_sequence(shared: JobManager) -> None:
    handle = await shared.start("sleep 10", timeout=0.1)
    job = await handle.wait(timeout=30)
    detail = await handle.stop()
    assert (job.state, job.exit_status, job.signal, job.reason) == ("timed_out", 124, "TERM", "0.1s")
    assert [(p.signals, p.ended_by) for p in detail.processes] == [(("TERM",), "TERM")]
    assert detail.processes[0].seconds is not None
    assert detail.seconds >= 0
    assert detail.nothing_is_left


async def test_who_ignores_term_is_killed_after_the_grace(shared: JobManager) -> None:
    handle = await shared.start(zoo_argv("ignores_term"), timeout=0.5, stop_grace=0.1)
    job = await handle.wait(timeout=30)
    report = await handle.stop()
    assert (job.state, job.exit_status, job.signal) == ("timed_out", 124, "KILL")
    assert report.processes[0].ended_by == "KILL"


async def test_time_paused_counts_for_no_time_limit(shared: JobManager) -> None:
    handle = await shared.start("sleep 60", timeout=0.3, stop_grace=0.1)
    await handle.pause()
    assert (await handle.snapshot()).state == "paused"
    with pytest.raises(TimeoutError):
        await handle.wait(timeout=0.5)
    assert (await handle.snapshot()).state == "paused"
    await handle.resume()
    job = await handle.wait(timeout=30)
    assert job.state == "timed_out"
    assert job.signal is not None
    assert parse_signal(job.signal) == 15
    assert job.elapsed is not None
    assert job.elapsed >= 0.75


async def test_a_paused_job_does_nothing(shared: JobManager) -> None:
    code = "import time\nprint('ready', flush=True)\nwhile True: print('x', flush=True); time.sleep(0.001)"
    handle = await shared.start(python(code))
    await ready(handle)
    await handle.pause()
    before = await handle.stdout()
    with pytest.raises(TimeoutError):
        await handle.wait(timeout=0.1)
    assert await handle.stdout() == before
    await handle.resume()

    async def goes_on() -> bool:
        return len(await handle.stdout()) > len(before)

    await eventually_so(goes_on, "it to go on")
    await state_is(handle, "running")
    await handle.pause()
    report = await handle.stop(grace=5)
    assert report.processes[0].ended_by == "TERM"


async def test_a_run_that_is_cancelled_ends_its_job() -> None:
    async with opened() as manager:
        run = asyncio.ensure_future(manager.run(["sleep", "60"]))
        await eventually_so(lambda: _is_running(manager), "the job to run")
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        job = await manager.job(1).wait(timeout=20)
    assert (job.state, job.reason) == ("stopped", "stopped by the program that cancelled its run")


async def _is_running(manager: corral.JobManager) -> bool:
    return any(job.state == "running" for job in await manager.jobs())
