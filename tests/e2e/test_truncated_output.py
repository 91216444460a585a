"""Output that its own program made shorter: nobody breaks, and everybody says what is lost."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from corral.model.home import Home
from corral.platform.files import truncation_tripwire
from corral.protocol import requests as p
from e2e.command import Corral, read_all
from e2e.daemons import Daemons, job, start, wait
from holes import on_disk
from managers import eventually, eventually_so, opened
from until import until

ADVICE = "run --output pipe keeps all"


def seen(corral: Corral, name: str) -> Any:
    (found,) = json.loads(corral.ok("ps", "-a", "--json", name))
    return found


def step(corral: Corral, number: int) -> None:
    """Let a script go on that waits with `wait_for`."""
    (corral.directory / f"go.{number}").touch()


def wait_for(number: int) -> str:
    return f"until [ -e go.{number} ]; do sleep 0.01; done"


def test_what_was_emptied_is_said_by_logs_show_and_wait_and_changes_no_status(corral: Corral) -> None:
    script = f"echo preflight >&2; {wait_for(1)}; seq 5 | tee /dev/stderr | wc -l; echo after >&2; {wait_for(2)}; exit 3"
    with corral.start("run", "--wait", "--name", "emptied", "--shell", script) as client:
        until(lambda: (corral.home / "jobs" / "1" / "stderr.1").exists(), "the job to start")
        until(lambda: seen(corral, "emptied")["stderr_bytes"] == 10, "the daemon to know of its first line")
        with corral.start("logs", "-f", "emptied") as follower:
            assert follower.stderr is not None
            assert follower.stderr.readline() == b"preflight\n"
            step(corral, 1)
            until(lambda: seen(corral, "emptied")["stderr_truncated_bytes"], "the daemon to notice")
            # While it runs, too.
            assert "at least 10 bytes of it are lost" in corral("logs", "emptied").stderr
            step(corral, 2)
            out, err = read_all(client.stdout), read_all(client.stderr).decode()
            assert client.wait(30) == 3
            followed = read_all(follower.stderr).decode()
            assert follower.wait(30) == 0
    assert out == b"5\n"
    assert err.startswith("preflight\n1\n2\n3\n4\n5\nafter\ncorral: job 1: its stderr was made shorter")
    assert err.count("corral:") == 1
    assert f"as > /dev/stderr does: at least 10 bytes of it are lost; {ADVICE}" in err
    assert "1\n2\n3\n4\n5\nafter\n" in followed
    assert "made shorter just now" in followed
    assert "at least 10 bytes of it are lost" in followed

    found = seen(corral, "emptied")
    assert (found["stderr_bytes"], found["stderr_truncated_bytes"]) == (16, 10)
    assert (found["stdout_truncated_bytes"], found["stderr_dropped_bytes"]) == (0, 0)
    assert found["stages"][0]["stderr_truncated_bytes"] == 10
    assert found["started"] <= found["output_truncated"] <= found["ended"]
    logs = corral("logs", "emptied")
    assert (logs.returncode, logs.stdout) == (0, "5\n")
    assert logs.stderr.endswith("1\n2\n3\n4\n5\nafter\n")
    assert ADVICE in logs.stderr
    assert ADVICE not in corral("logs", "--stdout", "emptied").stderr
    shown = corral.ok("show", "emptied")
    assert "at least 10 of output emptied by itself" in shown
    assert (
        f"stderr was made shorter, as `> /dev/stderr` does: at least 10 bytes of it are lost; {ADVICE}"
        in shown
    )


def test_truncation_to_the_middle_goes_on_and_misses_nothing(corral: Corral) -> None:
    script = f"seq 1000; {wait_for(1)}; truncate -s 100 /proc/self/fd/1; echo behind; {wait_for(2)}"
    with corral.start("run", "--wait", "--name", "cut", "--shell", script) as client:
        assert client.stdout is not None
        whole = b"".join(b"%d\n" % number for number in range(1, 1001))
        assert client.stdout.read(len(whole)) == whole
        until(lambda: seen(corral, "cut")["stdout_bytes"] == len(whole), "the daemon to know of its lines")
        step(corral, 1)
        until(lambda: seen(corral, "cut")["stdout_truncated_bytes"], "the daemon to notice")
        step(corral, 2)
        out, err = read_all(client.stdout), read_all(client.stderr).decode()
        assert client.wait(30) == 0
    # A little of what stays may come again, nothing of what is new may be missing.
    assert (whole[:100] + b"behind\n").endswith(out)
    assert len(b"behind\n") <= len(out) <= 64 + len(b"behind\n")
    lost = seen(corral, "cut")["stdout_truncated_bytes"]
    assert len(whole) - 107 <= lost <= len(whole) - 100
    assert f"at least {lost} bytes (3.7K) of it are lost" in err


async def test_a_file_that_is_longer_than_before_when_it_is_looked_at_again_was_emptied_all_the_same() -> (
    None
):
    async with opened() as manager:
        # Half a second without an open: nothing wakes the daemon, and the next tick finds a longer file.
        script = "echo short; read line; : > /dev/stdout; seq 1000; read line"
        source = await manager.start(script, shell=True, stdin="interactive")
        await eventually_so(lambda: _stdout_is(source, 6), "its first line")
        follower = source.follow()
        assert await anext(follower) == b"short\n"
        await source.send(b"go\n")
        noticed = await eventually_so(lambda: _truncated(source), "the daemon to notice")
        assert noticed.stdout_truncated_bytes == 6
        expected = b"".join(b"%d\n" % number for number in range(1, 1001))
        await source.send(b"end\n")
        assert b"".join([piece async for piece in follower]) == expected
        ended = await source.wait(30)
        assert (ended.state, ended.stdout_bytes) == ("succeeded", len(expected))
        assert await source.stdout() == expected


SHORT = {
    "echo one; echo two > /dev/stdout; echo three": True,
    "echo preflight; seq 5 | sort -o /dev/stdout; echo after": True,
    "echo one; bash -c 'echo two > /proc/self/fd/1'": True,
    "echo one; truncate -s 1 /proc/self/fd/1; echo two": True,
    "echo one; echo two >> /dev/stdout; echo three": False,
    "echo one > /dev/stderr": False,
    "echo one; echo two; wc -c /dev/fd/1": False,
    "true": False,
}


async def test_it_is_known_also_of_what_is_over_in_a_moment_and_nothing_else_is_suspected() -> None:
    async with opened() as manager:
        home = manager.session.home
        if not truncation_tripwire.sectors_in(home.jobs):
            pytest.skip("this file system remembers no truncation")
        for line, is_truncated in SHORT.items():
            result = await manager.run(line, shell=True)
            found = result.job.stdout_truncated_bytes, result.job.output_truncated is not None
            assert (found[0] > 0, found[1], result.job.stderr_truncated_bytes) == (
                is_truncated,
                is_truncated,
                0,
            ), line
        files = [Path(home.stdout(number)) for number in range(1, len(SHORT) + 1)]
        await eventually(
            lambda: all(on_disk(file) <= 4096 for file in files) and on_disk(files[-1]) == 0,
            "the reserved blocks to be given back",
        )


async def _stdout_is(handle: Any, size: int) -> bool:
    return bool((await handle.snapshot()).stdout_bytes == size)


async def _truncated(handle: Any) -> Any:
    job = await handle.snapshot()
    return job if job.truncated_bytes else None


async def test_who_is_fed_goes_on_with_what_is_new() -> None:
    async with opened() as manager:
        script = "echo first; read line; echo second > /dev/stdout; echo third; read line"
        source = await manager.start(script, shell=True, stdin="interactive")
        fed = await manager.start("cat", stdin=source)
        await eventually_so(lambda: _stdout_is(fed, 6), "the first line to be fed")
        await source.send(b"go\n")
        await eventually_so(lambda: _stdout_is(fed, 19), "what is new to be fed")
        await source.send(b"end\n")
        assert (await fed.wait(30)).state == "succeeded"
        assert await fed.stdout() == b"first\nsecond\nthird\n"


async def test_rates_and_counts_never_go_back() -> None:
    async with opened() as manager:
        script = "seq 100000; while read line; do : > /dev/stdout; echo $line; done"
        loud = await manager.start(script, shell=True, stdin="interactive")
        await eventually_so(lambda: _stdout_is(loud, 588895), "its output")
        for number in range(3):
            await loud.send(b"%d\n" % number)
            job = await eventually_so(lambda: _stdout_is_now(loud, 2), "the next line")
            assert job.output_bytes_per_second is not None
            assert job.output_bytes_per_second >= 0
            assert job.last_output is not None
        await loud.close_stdin()
        ended = await loud.wait(30)
        assert ended.stdout_truncated_bytes >= 588893


async def _stdout_is_now(handle: Any, size: int) -> Any:
    job = await handle.snapshot()
    return job if job.stdout_bytes == size else None


def test_what_is_lost_is_remembered_over_a_restart_and_found_after_a_crash(tmp_path: Path) -> None:
    daemons = Daemons(tmp_path / "home")
    go = tmp_path / "go"
    script = f"seq 1000; until [ -e {go} ]; do sleep 0.01; done; echo new > /dev/stdout; sleep 1000"
    try:
        with daemons.client() as client:
            (one, other) = start(client, ["sh", "-c", script], ["sh", "-c", script])
            until(lambda: job(client, one).stdout_bytes == 3893, "its output")
            Path(daemons.home.stdout(one)).write_bytes(b"")
            until(lambda: job(client, one).stdout_truncated_bytes, "the daemon to notice")
        # The position of its descriptor outlives the daemon, and so does the mark of its end.
        daemons.signal(signal.SIGKILL)
        go.touch()
        until(lambda: _size(daemons.home, other) == 4, "it to empty its stdout while no daemon runs")
        with daemons.client() as client:
            found = until(lambda: _when_truncated(client, other), "the next daemon to notice")
            assert found.stdout_truncated_bytes == 3889
            client.call(p.StopJobs(ids=(one, other)), timeout=20)
            wait(client, one, other)
    finally:
        daemons.end()


def _size(home: Home, job_id: str) -> int:
    return Path(home.stdout(job_id)).stat().st_size


def _when_truncated(client: Any, job_id: str) -> Any:
    found = job(client, job_id)
    return found if found.stdout_truncated_bytes else None
