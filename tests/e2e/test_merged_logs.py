"""`logs --merged`: both streams in the order in which they came, whoever looked meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

import corral as library
from e2e.command import Corral
from e2e.terminal import Terminal
from until import until

STEPS = ("out 1", "err 2", "out 3", "err 4", "out 5")
EACH = "exec 3<>steps; while read -r where what <&3; do case $where in out) echo $where $what;; end) exit;; *) echo $where $what >&2;; esac; done"
"""Prints what it is told, to the stream that is named first."""


class Job:
    """A job that prints a line when it is told to, which is then seen by the daemon."""

    def __init__(self, corral: Corral) -> None:
        self.corral = corral
        os.mkfifo(corral.directory / "steps")
        self.pipe = os.open(corral.directory / "steps", os.O_RDWR)
        self.id = corral.ok("run", "--shell", EACH)

    def print(self, line: str) -> None:
        before = self.sizes()
        os.write(self.pipe, line.encode() + b"\n")
        until(lambda: self.sizes() > before, "it to be seen")

    def sizes(self) -> int:
        (found,) = json.loads(self.corral.ok("ps", "--json", self.id))
        return int(found["stdout_bytes"] + found["stderr_bytes"])

    def end(self) -> None:
        os.write(self.pipe, b"end\n")
        assert self.corral("wait", self.id).returncode == 0


@pytest.fixture
def job(corral: Corral) -> Iterator[Job]:
    made = Job(corral)
    yield made
    os.close(made.pipe)


def kill_daemon(corral: Corral) -> None:
    os.kill(json.loads(corral.ok("daemon", "status", "--json"))["pid"], signal.SIGKILL)


@pytest.mark.parametrize("how", ["undisturbed", "restart", "crash"])
def test_the_order_outlives_the_job_and_the_daemon(how: str, job: Job, corral: Corral) -> None:
    for number, line in enumerate(STEPS):
        job.print(line)
        if how == "restart" and number == 2:
            corral.ok("daemon", "restart")
        if how == "crash" and number in (1, 2):
            kill_daemon(corral)
    job.end()
    assert corral.ok("logs", "--merged").split("\n") == list(STEPS)
    assert corral.ok("logs", "--merged", "-n", "2", job.id).split("\n") == list(STEPS[-2:])
    assert corral("logs").stdout == "out 1\nout 3\nout 5\n"
    corral.ok("rm", job.id)
    assert os.listdir(corral.home / "jobs") == []


def test_on_a_terminal_it_is_what_logs_does(job: Job, corral: Corral) -> None:
    for line in STEPS[:2]:
        job.print(line)
    argv = [*corral.argv, "logs", "-f"]
    with Terminal(argv, environment=corral.environment, cwd=corral.directory) as terminal:
        terminal.wait_for("err 2")
        for line in STEPS[2:]:
            job.print(line)
        job.end()
        assert terminal.wait_for_end() == 0
        assert tuple(terminal.lines()[:5]) == STEPS
    argv = [*corral.argv, "logs", "--stderr"]
    with Terminal(argv, environment=corral.environment, cwd=corral.directory) as terminal:
        assert terminal.wait_for_end() == 0
        assert [line for line in terminal.lines() if line] == ["err 2", "err 4"]


def test_it_is_followed_into_a_pipe_and_past_what_was_dropped(corral: Corral) -> None:
    corral.ok("run", "-i", "--max-output", "64K", "--shell", "seq 100000; read go; echo err >&2; sleep 60")
    follower = corral.start("logs", "--merged", "-f", stdout=subprocess.PIPE)
    until(
        lambda: json.loads(corral.ok("ps", "--json", "@"))[0]["stdout_dropped_bytes"],
        "its head to be dropped",
    )
    corral.ok("send", "@", "go")
    until(lambda: json.loads(corral.ok("ps", "--json", "@"))[0]["stderr_bytes"], "its stderr to be seen")
    late: Any = corral("logs", "--merged")
    assert late.stdout.splitlines()[-2:] == ["100000", "err"]
    assert late.stderr.count("were dropped") == 1
    corral("kill", "@")
    out, _ = follower.communicate(timeout=30)
    assert out.splitlines()[-2:] == [b"100000", b"err"]


@pytest.mark.parametrize("words", [["--stdout"], ["--stderr"], ["--stage", "1"], ["1", "2"]])
def test_what_it_does_not_go_with(words: list[str], corral: Corral) -> None:
    refused = corral("logs", "--merged", *words)
    assert refused.returncode == 2
    assert "--merged prints all of one job" in refused.stderr


def test_the_library_has_it(job: Job, corral: Corral, monkeypatch: pytest.MonkeyPatch) -> None:
    for line in STEPS:
        job.print(line)

    async def output() -> bytes:
        async with library.connect(corral.home) as manager:
            return await manager.job(job.id).output()

    assert asyncio.run(output()).decode().split() == " ".join(STEPS).split()
    job.end()
