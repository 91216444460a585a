"""`--max-output`: what is kept, what is said of the rest, and who would have missed it."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

import corral as library
from corral.model.home import Home
from corral.output.reader import dropped_bytes
from corral.protocol import requests as p
from e2e.command import Corral, read_all
from e2e.daemons import Daemons, start, wait
from holes import on_disk
from managers import eventually, opened, python
from until import until

LINES = 40_000
WRITE = f"import os\nos.write(1, b''.join(b'%063d\\n' % number for number in range({LINES})))"
ALL = b"".join(b"%063d\n" % number for number in range(LINES))
CAP = 64 << 10


def written_in(directory: Path) -> str:
    """A command that writes 2.5 MB of numbered lines."""
    (directory / "write.py").write_text(WRITE)
    return f"{python('')[0]} -S -E write.py"


def test_the_newest_lines_are_kept_and_the_rest_is_counted_and_said(corral: Corral) -> None:
    write = written_in(corral.directory)
    corral.ok("run", "--name", "flood", "--max-output", "64K", "--wait", "--json", *write.split())
    (seen,) = json.loads(corral.ok("ps", "-a", "--json"))
    dropped = seen["stdout_dropped_bytes"]
    assert (seen["stdout_bytes"], seen["max_output"], seen["stderr_dropped_bytes"]) == (len(ALL), CAP, 0)
    assert CAP <= len(ALL) - dropped <= 2 * CAP

    logs = corral("logs", "flood", text=False)
    assert logs.stdout == ALL[dropped:]
    assert logs.stderr.decode().splitlines() == [
        f"corral: job 1: the first {dropped} bytes (2.4M) of its stdout were dropped; "
        "the newest 64K are kept (--max-output)"
    ]
    few = corral("logs", "--tail", "3", "flood")
    assert (few.stdout, few.stderr) == (ALL[-3 * 64 :].decode(), "")
    more = corral("logs", "--tail", "30000", "flood", text=False)
    assert (more.stdout, b"were dropped" in more.stderr) == (ALL[dropped:], True)

    shown = corral.ok("show", "flood")
    assert "64K of each output kept" in shown
    assert "stdout has grown past 64K: from now on its oldest bytes are dropped" in shown
    file = corral.home / "jobs" / "1" / "stdout"
    until(lambda: on_disk(file) <= 2 * CAP + 4096, "the hole")

    # Only Corral's own files: what the user's line names is the user's.
    corral.ok("run", "--wait", "--max-output", "64K", f"{write} > all")
    assert (corral.directory / "all").read_bytes() == ALL
    assert on_disk(corral.directory / "all") >= len(ALL)


def test_a_wait_that_came_too_late_says_so_and_ends_with_125(corral: Corral) -> None:
    words = ("run", "--wait", "--max-output", "64K", *written_in(corral.directory).split())
    with corral.start(*words) as client:
        until(lambda: "succeeded" in corral.ok("ps", "-a"), "the job to end")
        out, err = read_all(client.stdout), read_all(client.stderr).decode()
        assert client.wait(30) == 125
    assert ALL.startswith(out)
    assert "dropped before they could be copied" in err
    assert "--max-output none" in err


def test_counts_and_bytes_survive_the_daemons_crash(tmp_path: Path) -> None:
    daemons = Daemons(tmp_path / "home")
    endless = """
import os, time
line = 0
while True:
    os.write(1, b"".join(b"%063d\\n" % number for number in range(line, line + 4096)))
    line += 4096
    time.sleep(0.01)
"""
    try:
        with daemons.client() as client:
            (flood,) = start(client, python(endless), max_output=CAP)
            path = daemons.home.stdout(flood)
            until(lambda: dropped_bytes(path), "something to be dropped")
        daemons.signal(signal.SIGKILL)
        before = dropped_bytes(path) or 0
        with daemons.client() as client:
            until(lambda: (dropped_bytes(path) or 0) > before + CAP, "the next daemon to go on dropping")
            client.call(p.StopJobs(ids=(flood,)), timeout=20)
            (ended,) = wait(client, flood)
        data = Path(path).read_bytes()[ended.stdout_dropped_bytes :]
        first = ended.stdout_dropped_bytes // 64
        assert data == b"".join(b"%063d\n" % number for number in range(first, first + len(data) // 64))
        assert CAP <= len(data) <= 2 * CAP
        assert ended.stdout_bytes == ended.stdout_dropped_bytes + len(data)
    finally:
        daemons.end()


async def test_who_is_fed_or_follows_hears_of_what_it_missed() -> None:
    rest = WRITE.replace("range(", "range(1, ")
    waits = (
        f"import os, sys\nos.write(1, b'%063d\\n' % 0)\nsys.stdin.readline()\n{rest}\nsys.stdin.readline()"
    )
    async with opened() as manager:
        source = await manager.start(python(waits), stdin="interactive", max_output=CAP)
        fed = await manager.start(["sleep", "60"], stdin=source)
        follower = source.follow()
        assert await anext(follower) == ALL[:64]
        await source.send(b"go\n")
        ended = await fed.wait(30)
        assert (ended.state, ended.exit_status) == ("failed", 125)
        assert (
            ended.reason == "bytes of job 1 were dropped before they could be fed: it keeps 64K of its output"
        )
        path = Path(Home(manager.session.home.path).stdout(source.id))
        await eventually(lambda: on_disk(path) <= 2 * CAP + 4096, "the hole")
        with pytest.raises(library.OutputDroppedError, match="were dropped before they could be read"):
            async for _ in follower:
                pass
        assert CAP <= len(await source.stdout()) <= 2 * CAP
        later = await manager.run(["head", "-c", "64"], stdin=source)
        assert later.stdout == ALL[-len(await source.stdout()) :][:64]
