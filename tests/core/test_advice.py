"""What is advised: the right command for each case, and none that would end a process of somebody else."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec import structs

from corral.diagnosis.buffered_output_hint import is_unbuffered
from corral.diagnosis.diagnose import diagnose
from corral.diagnosis.wait_chains import Observations
from corral.model.job import Job, Stage
from corral.model.reports import Diagnosis
from corral.platform.inspect.open_files import OpenFile
from corral.waits.holders import WaitHolders
from corral.waits.process_wait import ProcessWait

COMMON = ["corral stop 5", "corral restart 5", "corral run --timeout 5m …"]


def stuck(*waits: ProcessWait, seen: dict[str, object] | None = None, **values: object) -> Diagnosis:
    """Of a stuck job whose stages are these processes."""
    stages = tuple(
        Stage(number=n, name=wait.name, argv=(wait.name,), pid=wait.pid, state="running")
        for n, wait in enumerate(waits, 1)
    )
    job = Job(
        id="5",
        name="a name",
        command="x",
        cwd="/",
        state="running",
        created=datetime.now(UTC),
        stages=stages,
        health="stuck",
    )
    pipes = {"pipes": {101: 1, 102: 2}, **(seen or {})}
    return diagnose(structs.replace(job, **values), Observations(waits, **pipes))  # type: ignore[arg-type]


def wait(pid: int, name: str, kind: str, **more: object) -> ProcessWait:
    state = "T" if kind == "suspended" else "S"
    return ProcessWait(pid, name, state, kind, f"waits for a {kind}", **more)  # type: ignore[arg-type]


def commands(found: Diagnosis) -> list[str | None]:
    return [advice.command for advice in found.advice]


def test_one_that_does_not_read_can_be_ended_alone():
    writer = wait(10, "yes", "pipe_write", fd=1, pipe=101)
    found = stuck(writer, wait(20, "python", "timer"), wait(30, "cat", "pipe_read", fd=0, pipe=102))
    assert found.summary == "python sleeps and does not read its input; the 2 others wait for it"
    assert commands(found) == ["corral stop --stage 2 5", *COMMON]
    assert commands(stuck(wait(20, "tar", "disk"))) == ["dmesg | tail", *COMMON]
    assert commands(stuck(wait(20, "python", "suspended"))) == ["corral resume 5", *COMMON]


def test_a_terminal_is_offered_where_there_is_none():
    assert commands(stuck(wait(10, "ssh", "tty_input"))) == ["corral run --pty …", *COMMON]
    assert "corral attach 5" in commands(stuck(wait(10, "ssh", "tty_input"), pty=True))
    asking = commands(stuck(wait(10, "su", "unknown"), pty=True, health=None))
    assert asking == ["corral attach 5", "corral send 5 TEXT", *COMMON]
    assert "corral attach 5" not in commands(stuck(wait(10, "su", "unknown"), health=None))


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ("python -u x.py", True),
        ("python -Iu x.py", True),
        ("python -X dev -W error -u -c x", True),
        ("python x.py -u", False),
        ("python -c pass -u", False),
        ("python -m x -u", False),
        ("python -Xu x.py", False),
        ("python", False),
    ],
)
def test_the_option_of_python_that_prints_at_once(argv: str, expected: bool):
    assert is_unbuffered(argv.encode().split()) is expected


@pytest.mark.parametrize(
    ("kind", "path", "command"),
    [
        ("pipe_read", "/tmp/a fifo", "echo TEXT > '/tmp/a fifo'"),
        ("pipe_write", "/tmp/fifo", "cat /tmp/fifo"),
        ("pipe_read", "a relative one", None),
        ("pipe_read", "/tmp/\x1b[2J", None),
    ],
)
def test_the_other_end_of_a_fifo(kind, path, command):
    opening = wait(10, "cat", kind, file=OpenFile(10, -1, "fifo", path))
    assert commands(stuck(opening)) == [*([command] if command else []), *COMMON]


def test_who_holds_a_lock_is_named_and_strangers_are_left_alone():
    wants = wait(10, "flock", "file_lock", file=OpenFile(10, 3, "file", "/tmp/lock"))
    held = WaitHolders((77,), "waits for the lock on /tmp/lock (flock), which 77 (apt) holds", True)
    around: dict[str, object] = {"holders": {10: held}, "outside": (wait(77, "apt", "timer"),)}
    stranger = stuck(wants, seen=around)
    assert commands(stranger) == ["ps -fp 77", *COMMON]
    assert stranger.advice[0].text == "look at apt (77), which is none of Corral's"
    other = stuck(wants, seen={**around, "jobs": {77: "3"}})
    assert commands(other) == ["corral why 3", "corral stop 3", *COMMON]


def test_processes_of_one_name_are_told_apart():
    ring = stuck(
        wait(10, "python", "child", on_pid=20),
        wait(20, "python", "file_lock"),
        seen={"holders": {20: WaitHolders((10,), "waits for the lock", True)}},
    )
    assert ring.summary == (
        "python (stage 1) and python (stage 2) wait for each other, which can never end:"
        " python (stage 1) waits for a child; python (stage 2) waits for the lock"
    )
    chain = stuck(wait(10, "cat", "file_lock"), wait(20, "cat", "pipe_read", fd=0, pipe=101))
    assert chain.summary == "cat (stage 1) waits for a file_lock; cat (stage 2) waits for it"
