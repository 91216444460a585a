"""Redirections, starts that fail, feeding, waiting, input: through the library, with real programs."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import pytest

import corral
from corral.library.manager import JobManager
from corral.model.errors import CannotStartError, NotSoError, UnknownJobError, UsageError
from managers import eventually, eventually_so, marked, nonce_of, opened, python, ready, state_is, zoo_argv

pytestmark = pytest.mark.asyncio(loop_scope="module")

BOTH = "sh -c 'echo out; echo err >&2'"


@pytest.mark.parametrize(
    ("line", "stdout", "stderr", "file"),
    [
        (f"{BOTH} > f", b"", b"err\n", b"out\n"),
        (f"{BOTH} >> f", b"", b"err\n", b"old\nout\n"),
        (f"{BOTH} 2> f", b"out\n", b"", b"err\n"),
        (f"{BOTH} 2>> f", b"out\n", b"", b"old\nerr\n"),
        (f"{BOTH} > f 2>&1", b"", b"", b"out\nerr\n"),
        (f"{BOTH} 2>&1 > f", b"err\n", b"", b"out\n"),
        ("cat < f", b"old\n", b"", b"old\n"),
        (f"{BOTH} |& cat", b"out\nerr\n", b"", b"old\n"),
        (f"{BOTH} 2>&1 | cat", b"out\nerr\n", b"", b"old\n"),
        (f"{BOTH} 2>&1 > f | cat", b"err\n", b"", b"out\n"),
        (f"{BOTH} > f |& cat", b"", b"", b"out\nerr\n"),
        (f"{BOTH} > f | cat", b"", b"err\n", b"out\n"),
        ("echo piped | cat < f", b"old\n", b"", b"old\n"),
        ("cat < f > f", b"", b"", b""),
        ("A=1 A=2 sh -c 'echo $A'", b"2\n", b"", b"old\n"),
    ],
)
async def test_redirections(
    line: str, stdout: bytes, stderr: bytes, file: bytes, tmp_path: Path, shared: JobManager
) -> None:
    (tmp_path / "f").write_bytes(b"old\n")
    result = await shared.run(line, cwd=str(tmp_path))
    assert result.job.state == "succeeded", result
    assert (result.stdout, result.stderr, (tmp_path / "f").read_bytes()) == (stdout, stderr, file)


@pytest.mark.parametrize(
    ("line", "status", "reason"),
    [
        ("cat < f | cat | gzipp > kept | cat", 127, "stage 3: no such program: gzipp"),
        ("cat < f | cat | ./plain > kept | cat", 126, "stage 3: not executable: ./plain"),
        ("cat < f | cat | . > kept", 127, "stage 3: no such program: ."),
        ("cat < f | cat | ./ > kept", 126, "stage 3: not executable: ./ is a directory"),
        ("echo new > kept | cat < missing", 125, "stage 2: cannot read missing: No such file or directory"),
        ("echo new > kept | cat > no/such/place", 125, "stage 2: cannot write to no/such/place"),
        ("echo new > kept | cat > .", 125, "stage 2: cannot write to .: Is a directory"),
    ],
)
async def test_a_pipeline_that_cannot_start_empties_nothing_and_starts_nothing(
    line: str, status: int, reason: str, tmp_path: Path, shared: JobManager
) -> None:
    (tmp_path / "kept").write_bytes(b"kept\n")
    (tmp_path / "f").write_bytes(b"x")
    (tmp_path / "plain").write_bytes(b"no program")
    with pytest.raises(CannotStartError, match=reason.replace(".", r"\.")) as raised:
        await shared.start(line, cwd=str(tmp_path))
    assert raised.value.status == status
    job = await shared.job("@").snapshot()
    assert (job.state, job.exit_status, job.started) == ("failed", status, None)
    assert marked(nonce_of(shared.session.home)) == []
    assert await shared.job(job.id).stdout() == b""
    assert (tmp_path / "kept").read_bytes() == b"kept\n"


async def test_a_stage_that_the_kernel_refuses_ends_those_before_it(
    tmp_path: Path, shared: JobManager
) -> None:
    """Seen only at exec(2): its interpreter is missing, so the stages before it run already."""
    broken = tmp_path / "broken"
    broken.write_bytes(b"#!/no/such/interpreter\n")
    broken.chmod(0o755)
    home = shared.session.home
    with pytest.raises(CannotStartError, match="stage 3: not executable") as raised:
        await shared.start("sleep 60 | sleep 60 | ./broken | sleep 60", cwd=str(tmp_path))
    assert raised.value.status == 126
    await eventually(lambda: not marked(nonce_of(home)), "the first two stages to be ended")
    job = await shared.job("@").snapshot()
    assert (job.state, job.exit_status) == ("failed", 126)
    assert job.reason is not None
    assert job.reason.startswith("stage 3: not executable: ./broken")


async def test_a_directory_that_does_not_exist(shared: JobManager) -> None:
    with pytest.raises(CannotStartError, match="no such directory: /no/such/place"):
        await shared.start("echo", cwd="/no/such/place")


@pytest.mark.parametrize(
    "line", ["", "a | | b", "echo 'x", "a && b", "a; b", "echo $NO_SUCH_NAME", "ls no-such-*"]
)
async def test_a_line_that_makes_no_sense_leaves_no_job(line: str, shared: JobManager) -> None:
    before = await shared.jobs(all=True)
    with pytest.raises(UsageError):
        await shared.start(line)
    assert len(await shared.jobs(all=True)) == len(before)


# ---- FIFOs


async def test_a_fifo_holds_up_its_own_job_only(tmp_path: Path, shared: JobManager) -> None:
    os.mkfifo(tmp_path / "fifo")
    handle = await shared.start("cat < fifo", cwd=str(tmp_path))
    waiting = await handle.snapshot()
    assert waiting.state == "queued"
    assert waiting.waiting_for is not None
    assert "fifo" in waiting.waiting_for
    assert (await shared.run("echo meanwhile")).stdout == b"meanwhile\n"
    await shared.run("echo through > fifo", cwd=str(tmp_path))
    assert (await handle.wait(timeout=30)).state == "succeeded"
    assert await handle.stdout() == b"through\n"


async def test_a_job_that_waits_for_a_fifo_is_stopped_and_lets_go_of_the_others(
    tmp_path: Path, shared: JobManager
) -> None:
    for name in ("one", "two"):
        os.mkfifo(tmp_path / name)
    handle = await shared.start("cat < one > two", cwd=str(tmp_path))
    writer = await asyncio.to_thread(os.open, tmp_path / "one", os.O_WRONLY)
    try:
        job = await handle.snapshot()
        assert job.waiting_for is not None
        report = await handle.stop()
        assert report.state == "stopped"
        await eventually(lambda: _is_broken(writer), "nobody to have the first one open any more")
    finally:
        os.close(writer)


def _is_broken(writer: int) -> bool:
    """Whether nobody reads the other end (fifo(7))."""
    try:
        os.write(writer, b"x")
    except BrokenPipeError:
        return True
    return False


# ---- one job feeds another


async def test_feed_from_an_ended_job_byte_for_byte(shared: JobManager) -> None:
    code = "import os, sys\nblock = os.urandom(1 << 20)\nfor _ in range(20): sys.stdout.buffer.write(block)"
    source = await shared.start(python(code))
    await source.wait()
    result = await shared.run("sha256sum", stdin=source)
    expected = hashlib.sha256(await source.stdout()).hexdigest()
    assert result.job.stdin == "job"
    assert result.job.from_ == source.id
    assert result.stdout.split()[0].decode() == expected


async def test_feed_from_a_live_job_to_its_end(shared: JobManager) -> None:
    source = await shared.start("cat", stdin="interactive")
    reader = await shared.start("cat", stdin=source)
    for word in (b"one ", b"two ", b"three"):
        await source.send(word)

        async def has_come(word: bytes = word) -> bool:
            return word in await reader.stdout()

        await eventually_so(has_come, f"{word!r} to arrive while the source lives")
    assert (await reader.snapshot()).state == "running"
    await source.close_stdin()
    assert (await reader.wait(timeout=30)).state == "succeeded"
    assert await reader.stdout() == b"one two three"


async def test_a_feed_whose_reader_has_enough_ends(shared: JobManager) -> None:
    source = await shared.start(zoo_argv("floods", "3000000"))
    await source.wait()
    result = await shared.run("head -c 5", stdin=source)
    assert (result.stdout, result.job.state) == (b"ready", "succeeded")


async def test_two_readers_of_one_job_get_all_of_it_each(shared: JobManager) -> None:
    source = await shared.start(zoo_argv("floods", "3000000"))
    one, two = await asyncio.gather(
        shared.run("sha256sum", stdin=source), shared.run("sha256sum", stdin=source)
    )
    expected = hashlib.sha256(await source.stdout()).hexdigest().encode()
    assert one.stdout.split()[0] == two.stdout.split()[0] == expected


# ---- one job after another


async def test_after_a_job_that_succeeds(shared: JobManager) -> None:
    first = await shared.start("cat", stdin="interactive")
    second = await shared.start("echo second", after=[first])
    third = await shared.start("echo third", after=[first, second])
    waiting = await third.snapshot()
    assert waiting.state == "queued"
    assert waiting.waiting_for == f"job {first.id} and job {second.id} to succeed"
    await first.close_stdin()
    jobs = await shared.wait([first, second, third], timeout=30)
    assert [job.state for job in jobs] == ["succeeded"] * 3
    starts, ends = [job.started for job in jobs], [job.ended for job in jobs]
    assert ends[0] <= starts[1]  # type: ignore[operator]
    assert ends[1] <= starts[2]  # type: ignore[operator]


async def test_after_a_job_that_fails_nothing_of_the_chain_starts(shared: JobManager) -> None:
    first = await shared.start("cat", stdin="interactive")
    second = await shared.start("echo second", after=[first])
    third = await shared.start("echo third", after=[second])
    await first.kill()
    jobs = await shared.wait([second, third], timeout=30)
    assert [job.state for job in jobs] == ["failed", "failed"]
    assert [job.exit_status for job in jobs] == [125, 125]
    assert jobs[0].reason == f"job {first.id}, which it waited for, was stopped"
    assert jobs[1].reason == f"job {second.id}, which it waited for, failed"
    assert [job.started for job in jobs] == [None, None]


# ---- input while it runs


async def test_send_and_end_of_input(shared: JobManager) -> None:
    handle = await shared.start("cat", stdin="interactive")
    await handle.send(b"yes\n")
    await handle.send(b"x" * 300_000)
    await handle.close_stdin()
    assert (await handle.wait(timeout=30)).state == "succeeded"
    assert await handle.stdout() == b"yes\n" + b"x" * 300_000
    with pytest.raises(NotSoError, match="has ended"):
        await handle.send(b"late")


async def test_sending_to_many_at_once_reaches_each(shared: JobManager) -> None:
    handles = await shared.start_many(["cat"] * 8, stdin="interactive")
    await asyncio.gather(*(state_is(handle, "running") for handle in handles))
    await asyncio.gather(*(handle.send(handle.id.encode()) for handle in handles))
    await asyncio.gather(*(handle.close_stdin() for handle in handles))
    await shared.wait(handles, timeout=30)
    assert [await handle.stdout() for handle in handles] == [handle.id.encode() for handle in handles]


async def test_send_to_a_job_without_open_input_says_how_to_start_one(shared: JobManager) -> None:
    handle = await shared.start("sleep 60")
    with pytest.raises(NotSoError, match="run -i"):
        await handle.send(b"x")
    await handle.kill()
    twice = await shared.start("cat", stdin="interactive")
    await twice.close_stdin()
    with pytest.raises(NotSoError):
        await twice.close_stdin()


async def test_a_sender_to_a_job_that_does_not_read_waits_alone(shared: JobManager) -> None:
    handle = await shared.start(zoo_argv("never_reads"), stdin="interactive")
    await ready(handle)
    sending = asyncio.ensure_future(handle.send(b"x" * 300_000))
    assert (await shared.run("echo fine")).stdout == b"fine\n"
    assert not sending.done()
    await handle.kill()
    with pytest.raises(BrokenPipeError):
        await sending


async def test_a_long_line_is_typed_whole(shared: JobManager) -> None:
    reads = "import sys; print(len(sys.stdin.readline()))"
    handle = await shared.start([sys.executable, "-S", "-E", "-c", reads], pty=True)
    await handle.send(memoryview(b"x" * 20_000 + b"\r"))
    await handle.wait()
    assert (await handle.stdout()).endswith(b"20001\r\n")


@pytest.mark.parametrize("options", [{"pty": True}, {"stdin": "interactive"}])
async def test_who_gives_up_sending_is_not_held(options: dict[str, Any], shared: JobManager) -> None:
    handle = await shared.start(zoo_argv("never_reads"), **options)
    before = len(os.listdir("/proc/self/fd"))
    sending = asyncio.ensure_future(handle.send(b"x\n" * 150_000))
    await eventually(lambda: len(os.listdir("/proc/self/fd")) > before, "it to be sent")
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await eventually(lambda: len(os.listdir("/proc/self/fd")) <= before, "its thread to let go")
    await handle.kill()


# ---- again


async def test_restart_stops_first_and_keeps_the_surroundings(tmp_path: Path, shared: JobManager) -> None:
    line = ["sh", "-c", "pwd; echo $WHO; sleep 60"]
    handle = await shared.start(line, cwd=str(tmp_path), env={**os.environ, "WHO": "me"}, name="again")
    again = await handle.restart()
    assert again.id != handle.id
    assert (await handle.snapshot()).state == "stopped"

    async def has_spoken() -> bool:
        return (await again.stdout()).count(b"\n") == 2

    await eventually_so(has_spoken, "the second run to speak")
    assert await again.stdout() == f"{tmp_path}\nme\n".encode()
    job = await again.snapshot()
    assert (job.restarted_from, job.name) == (handle.id, "again")
    await again.kill()


async def test_what_read_the_stdin_of_its_client_cannot_run_again(shared: JobManager) -> None:
    result = await shared.run("cat", input=b"x")
    with pytest.raises(NotSoError, match="--stdin FILE"):
        await shared.job(result.job.id).restart()


async def test_unknown_jobs_and_names() -> None:
    async with opened() as manager:
        for reference in ("99", "nobody", "9" * 40, "-1", "0", "²", "a\x00b"):
            with pytest.raises((UnknownJobError, NotSoError)):
                await manager.job(reference).snapshot()
            with pytest.raises((UnknownJobError, NotSoError)):
                await manager.job(reference).wait(timeout=1)
        named = await manager.start("sleep 60", name="one")
        assert (await manager.job("one").snapshot()).id == named.id
        assert (await manager.job("@").snapshot()).id == named.id
        await named.kill()


async def test_undecodable_bytes_survive_in_argv_environment_and_names_of_files(
    tmp_path: Path, shared: JobManager
) -> None:
    odd = os.fsdecode(b"odd \xff\xfe name")
    (tmp_path / odd).write_bytes(b"inside")
    result = await shared.run(["cat", odd], cwd=str(tmp_path))
    assert result.stdout == b"inside"
    result = await shared.run(["sh", "-c", 'printf %s "$ODD"'], env={**os.environ, "ODD": odd})
    assert result.stdout == b"odd \xff\xfe name"
    result = await shared.run("cat", stdin=tmp_path / odd)
    assert result.stdout == b"inside"


async def test_a_job_knows_where_it_runs() -> None:
    async with opened() as manager:
        home = manager.session.home.path
        result = await manager.run(
            "sh -c 'echo $CORRAL_JOB_ID $CORRAL_STAGE' | sh -c 'cat; echo $CORRAL_STAGE $CORRAL_HOME'"
        )
    assert result.stdout.decode() == f"{result.job.id} 1\n2 {home}\n"


async def test_the_reports_of_leaving_name_what_was_ended() -> None:
    async with opened() as manager:
        await manager.start("sleep 60 | sleep 61")
        await manager.run("true")
    (report,) = manager.reports
    assert [process.name for process in report.processes] == ["sleep", "sleep"]
    assert report.nothing_is_left
    with pytest.raises(corral.CorralError, match="not open"):
        await manager.run("true")


async def test_a_forked_child_may_not_use_its_parents_manager() -> None:
    code = """
import asyncio, os, corral
async def main():
    async with corral.open() as manager:
        handle = await manager.start("sleep 60")
        child = os.fork()
        if child == 0:
            try:
                await handle.snapshot()
                os._exit(1)
            except corral.CorralError as error:
                os._exit(0 if "forked" in str(error) else 2)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), (await handle.snapshot()).state)
asyncio.run(main())
"""
    import subprocess

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "0 running\n"
