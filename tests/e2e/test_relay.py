"""`--output pipe`: nothing a job's program does to its stdout empties it, and the relay is in nobody's way."""

from __future__ import annotations

import json
import os
import resource
import signal
from pathlib import Path
from typing import Any

import pytest

from corral.model.errors import UsageError
from corral.model.home import Home
from corral.model.job import Job
from corral.platform.process.mark import read as mark_of
from corral.protocol import requests as p
from corral.runner import output_relay
from e2e.command import Corral
from e2e.daemons import Daemons, job, start, wait
from managers import eventually, eventually_so, opened, python
from until import until

EXAMPLE = "echo preflight >&2; seq 5 | tee /dev/stderr | wc -l; echo after >&2"


def relays(home: Home, job_id: str | None = None) -> list[int]:
    """The relays of a home that are at work, or the one of a job."""
    folder = os.fsencode(home.jobs if job_id is None else home.job(job_id))
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and _is_relay(int(entry), folder)]


def _is_relay(pid: int, folder: bytes) -> bool:
    try:
        name = Path(f"/proc/{pid}/comm").read_bytes()
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False  # ended meanwhile
    return b"relay" in name and any(word.startswith(folder) for word in words)


def relay_of(home: Home, job_id: str) -> int:
    (pid,) = until(lambda: relays(home, job_id), "the relay to be at work")
    return pid


def stdout_of(home: Home, job_id: str) -> bytes:
    return Path(home.stdout(job_id)).read_bytes()


def test_everything_a_job_writes_is_kept_and_nothing_of_the_relay_is_left(corral: Corral) -> None:
    ended = corral("run", "--wait", "--output", "pipe", "--name", "all", "--shell", EXAMPLE)
    assert (ended.returncode, ended.stdout) == (0, "5\n")
    assert ended.stderr == "preflight\n1\n2\n3\n4\n5\nafter\n"
    (found,) = json.loads(corral.ok("ps", "-a", "--json", "all"))
    assert (found["output"], found["stderr_bytes"], found["stderr_truncated_bytes"]) == ("pipe", 26, 0)
    assert (found["output_truncated"], found["leftovers"]) == (None, 0)
    assert "through a relay" in corral.ok("show", "all")
    again = corral.ok("restart", "all")
    corral.ok("wait", again)
    assert json.loads(corral.ok("ps", "-a", "--json", again))[0]["output"] == "pipe"
    assert corral("logs", again).stderr == "preflight\n1\n2\n3\n4\n5\nafter\n"
    until(lambda: not relays(Home(str(corral.home))), "the relays to end")

    refused = corral("run", "--output", "pipe", "--pty", "true")
    assert (refused.returncode, refused.stdout) == (125, "")
    assert "--output pipe and --pty exclude each other" in refused.stderr
    assert corral("run", "--output", "tape", "true").returncode == 125
    assert json.loads(corral.ok("run", "--json", "true"))["output"] == "file"


@pytest.mark.parametrize(
    "line",
    [
        "echo one; echo two > /dev/stdout; echo three",
        "echo one; bash -c 'echo two > /proc/self/fd/1'; echo three",
        "echo one; echo two | sort -o /dev/stdout; echo three",
        'echo one; echo | awk \'{print "two" > "/dev/stdout"}\'; echo three',
        "echo one; python3 -c \"open('/dev/stdout', 'w').write('two\\n')\"; echo three",
        "echo one; truncate -s 0 /proc/$$/fd/1 2> /dev/null; echo two; echo three",
    ],
)
async def test_what_opens_its_stdout_anew_takes_nothing_away(line: str) -> None:
    async with opened() as manager:
        result = await manager.run(line, shell=True, output="pipe")
        assert (result.stdout, result.stderr) == (b"one\ntwo\nthree\n", b"")
        assert (result.job.output, result.job.truncated_bytes) == ("pipe", 0)


async def test_each_stage_has_its_stderr_and_what_comes_last_comes_through_a_stop() -> None:
    last = "trap 'echo out; echo err >&2; exit' TERM; echo ready >&2; while :; do sleep 0.01; done"
    async with opened() as manager:
        line = ["sh", "-c", last]
        one = await manager.start(line, output="pipe")
        await eventually_so(lambda: _has_stderr(one), "it to be ready")
        snapshot = await one.snapshot()
        report = await one.stop()
        assert report.nothing_is_left
        assert {process.name for process in report.processes} <= {"sh", "sleep"}
        assert snapshot.processes <= 2
        assert all(process.name in ("sh", "sleep") for process in await one.processes())
        assert (await one.stdout(), (await one.stderr())[-4:]) == (b"out\n", b"err\n")
        assert (await one.snapshot()).leftovers == 0

        stages = await manager.run(
            'sh -c "echo a; echo b >&2" | sh -c "cat; echo c >&2" 2>&1 | sh -c "cat; echo d >&2; exit 3"',
            output="pipe",
        )
        assert (stages.exit_status, stages.stdout, stages.stderr) == (3, b"a\nc\n", b"b\nd\n")
        with pytest.raises(UsageError, match="cannot be a pipe"):
            await manager.start(["true"], pty=True, output="pipe")


async def _has_stderr(handle: Any) -> bool:
    return bool((await handle.snapshot()).stderr_bytes)


def test_no_byte_is_lost_when_the_daemon_is_killed_or_restarted(corral: Corral) -> None:
    home = Home(str(corral.home))
    code = """
import os, time
number = 0
while not os.path.exists("go"):
    os.write(1, b"%063d\\n" % number)
    number += 1
    time.sleep(0.0005)
os.write(1, b"end %d\\n" % number)
"""
    for words in (python(code), python(code.replace("write(1", "write(2"))):
        corral.ok("run", "--output", "pipe", *words)
    files = [Path(home.stdout("1")), Path(home.stderr("2", 1))]
    pid = relay_of(home, "1")
    assert mark_of(pid) is None
    assert b"CORRAL" not in Path(f"/proc/{pid}/environ").read_bytes()
    assert os.getsid(pid) == pid
    corral.ok("daemon", "restart")
    until(lambda: files[0].stat().st_size > 100 * 64, "some output")
    os.kill(json.loads(corral.ok("daemon", "status", "--json"))["pid"], signal.SIGKILL)
    before = files[0].stat().st_size
    until(lambda: files[0].stat().st_size > before, "output while no daemon runs")
    assert corral("ps", "-q").stdout.split() == ["1", "2"]
    (corral.directory / "go").touch()
    ended = corral("wait", "--json", "1", "2")
    assert ended.returncode == 0, ended
    for file, one in zip(files, json.loads(ended.stdout), strict=True):
        *written, last = file.read_bytes().splitlines(keepends=True)
        assert written == [b"%063d\n" % number for number in range(len(written))]
        assert last == b"end %d\n" % len(written)
        assert file.stat().st_size == one["stdout_bytes"] + one["stderr_bytes"]


def test_the_cap_holds(tmp_path: Path) -> None:
    code = "import os\nos.write(1, b''.join(b'%063d\\n' % number for number in range(40_000)))"
    daemons = Daemons(tmp_path / "home")
    try:
        with daemons.client() as client:
            (flood,) = start(client, python(code), max_output=64 << 10, output="pipe")
            (ended,) = wait(client, flood)
            assert ended.stdout_bytes == 40_000 * 64
            kept = ended.stdout_bytes - ended.stdout_dropped_bytes
            assert 64 << 10 <= kept <= 128 << 10
            newest = b"".join(b"%063d\n" % number for number in range(40_000 - kept // 64, 40_000))
            assert stdout_of(daemons.home, flood)[-kept:] == newest
    finally:
        daemons.end()


def test_what_a_job_leaves_behind_goes_on_writing_and_holds_its_end_up_for_a_moment_only(
    corral: Corral,
) -> None:
    home = Home(str(corral.home))
    script = "(until [ -e go ]; do sleep 0.01; done; echo late) & echo done"
    corral.ok("run", "--output", "pipe", "--name", "bg", "--shell", script)
    corral.ok("wait", "bg")
    (found,) = json.loads(corral.ok("ps", "-a", "--json", "bg"))
    assert (found["state"], found["stdout_bytes"]) == ("succeeded", 5)
    assert "ended while its output is still open" in corral.ok("show", "bg")
    until(lambda: json.loads(corral.ok("ps", "-a", "--json", "bg"))[0]["leftovers"], "the leftovers")
    assert relays(home)
    (corral.directory / "go").touch()
    until(lambda: stdout_of(home, "1") == b"done\nlate\n", "the last line")
    until(lambda: not relays(home), "the relay to end")


def test_a_relay_that_is_killed_is_a_pipe_without_a_reader_and_that_is_said(tmp_path: Path) -> None:
    daemons = Daemons(tmp_path / "home")
    try:
        with daemons.client() as client:
            script = "until [ -e go ]; do sleep 0.01; done; exec cat /dev/zero"
            (one,) = start(client, ["sh", "-c", f"cd {tmp_path}; {script}"], output="pipe")
            os.kill(relay_of(daemons.home, one), signal.SIGKILL)
            until(lambda: _says(client, one, "relay of its output was ended by KILL"), "it to be said")
            assert job(client, one).state == "running"
            (tmp_path / "go").touch()
            (ended,) = wait(client, one)
            assert (ended.state, ended.exit_status, ended.signal) == ("failed", 141, "PIPE")
    finally:
        daemons.end()


def _says(client: Any, job_id: str, words: str) -> bool:
    return any(words in event.text for event in client.call(p.ShowJob(job=job_id)).events)


def test_where_there_is_no_room_the_job_waits_and_nothing_is_lost(tmp_path: Path) -> None:
    daemons = Daemons(tmp_path / "home")
    code = "import os\nfor number in range(4000):\n os.write(1, b'%063d\\n' % number)"
    try:
        with daemons.client() as client:
            script = f'until [ -e {tmp_path}/go ]; do sleep 0.01; done; exec "$0" "$@"'
            (one,) = start(client, ["sh", "-c", script, *python(code)], output="pipe")
            relay = relay_of(daemons.home, one)
            # As a full disk: write(2) fails, with EFBIG instead of ENOSPC.
            resource.prlimit(relay, resource.RLIMIT_FSIZE, (64 * 100, resource.RLIM_INFINITY))
            (tmp_path / "go").touch()
            until(
                lambda: Path(f"/proc/{relay}/comm").read_bytes() == b"relay: no room\n", "the relay to wait"
            )
            why = until(lambda: _why(client, one, "relay: no room"), "the diagnosis")
            assert "make room where its output goes" in [advice.text for advice in why.advice]
            assert job(client, one).state == "running"
            resource.prlimit(relay, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            (ended,) = wait(client, one)
            assert ended.state == "succeeded"
            assert stdout_of(daemons.home, one) == b"".join(b"%063d\n" % number for number in range(4000))
    finally:
        daemons.end()


def _why(client: Any, job_id: str, words: str) -> Any:
    found = client.call(p.AskWhy(job=job_id))
    return found if words in found.summary else None


async def test_a_job_that_cannot_start_leaves_no_relay() -> None:
    async with opened() as manager:
        home = manager.session.home
        broken = await manager.start_many([["/etc/passwd"]], output="pipe")
        (ended,) = await manager.wait(broken)
        assert isinstance(ended, Job)
        assert ended.exit_status == 126
        await eventually(lambda: not relays(home), "the relay to end")


def test_the_program_of_the_relay_fits_into_the_smallest_pipe() -> None:
    assert len(output_relay._PROGRAM) < 4096
