"""A home on a disk that is full: jobs end and are stopped, all of it is told by name, and the end of a daemon loses nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from corral.journal.reader import JournalReader
from corral.protocol import requests as p
from e2e.command import Corral
from e2e.daemons import Daemons, job, start, wait
from smalldisk import fill, small_disk
from until import until

CUT = "the disk of its output was full"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 3 << 20) as path:
        yield path


@pytest.fixture
def daemons(disk: Path) -> Iterator[Daemons]:
    made = Daemons(disk / "home")
    yield made
    (disk / "filler").unlink(missing_ok=True)
    made.end()


def leave(disk: Path, room: int) -> None:
    fill(disk / "filler")
    os.truncate(disk / "filler", os.path.getsize(disk / "filler") - room)


def states(daemons: Daemons) -> dict[str, str]:
    with closing(JournalReader.open(daemons.home)) as reader:
        return {found.id: found.state for found in reader.jobs()}


def test_what_ends_on_a_full_disk_is_known_by_name_and_to_the_next_daemon(
    daemons: Daemons, disk: Path
) -> None:
    corral = Corral(Path(daemons.home.path), disk.parent)
    known = {"1": "stopped", "2": "timed_out", "3": "running"}
    with daemons.client() as client:
        start(client, ["sleep", "60"], name="by-hand")
        start(client, ["sleep", "60"], name="limited", timeout=1.0)
        start(client, ["sleep", "60"], name="left")
        fill(disk / "filler")
        assert client.call(p.StopJobs(ids=("by-hand",))).reports[0].state == "stopped"
        assert wait(client, "limited")[0].state == "timed_out"
        assert [job(client, name).id for name in ("by-hand", "limited")] == ["1", "2"]
        refused = corral("run", "--", "true")
        assert (refused.returncode, "no space left for the journal" in refused.stderr) == (125, True)
    assert "Nothing of it is left" in corral.ok("show", "by-hand")
    assert "time limit" in corral.ok("why", "limited")
    corral.ok("daemon", "stop", "--jobs", "leave")
    until(lambda: not daemons.alive(), "the daemon to end")
    assert states(daemons) == known
    assert "1 job was left unwatched" in corral("daemon", "status").stdout
    with daemons.client() as client:
        assert {found.id: found.state for found in client.call(p.ListJobs(all=True)).jobs} == known
        assert client.call(p.StopJobs(ids=("left",))).reports[0].state == "stopped"
        os.unlink(disk / "filler")
        until(
            lambda: not (disk / "home/corral.db.unwritten.1").read_bytes().strip(b"\0"), "all to be written"
        )
    assert states(daemons) == {**known, "3": "stopped"}


def test_output_that_a_full_disk_cut_is_said_to_be(daemons: Daemons, disk: Path) -> None:
    corral = Corral(Path(daemons.home.path), disk.parent)
    with daemons.client() as client:
        leave(disk, 400 << 10)
        start(client, ["sh", "-c", "seq 1 1000000; true"], name="writer")
        (ended,) = wait(client, "writer")
        assert (ended.state, ended.disk_full is not None) == ("succeeded", True)
        assert f"; {CUT}" in client.call(p.AskWhy(job="writer")).summary
        assert any(
            "disk of its output" in event.text for event in client.call(p.ShowJob(job="writer")).events
        )
        os.unlink(disk / "filler")
        start(client, ["sh", "-c", "while :; do echo more 2>&-; sleep 0.05; done"], name="tries")
        fill(disk / "filler")
        why = client.call(p.AskWhy(job="tries"))
        assert why.summary.endswith("the disk of its output is full: what it writes now is lost")
        assert why.advice[0].command == "df -h"
    said = corral("logs", "--tail", "1", "writer")
    assert said.returncode == 0
    assert said.stderr.startswith(f"corral: job 1: {CUT} at ")


def test_what_is_printed_on_a_terminal_waits_for_room_and_is_whole(daemons: Daemons, disk: Path) -> None:
    with daemons.client() as client:
        leave(disk, 400 << 10)
        start(client, ["sh", "-c", "seq 1 100000"], name="shown", pty=True)
        until(lambda: job(client, "shown").disk_full, "the disk to be full")
        why = client.call(p.AskWhy(job="shown"))
        assert why.summary == "waits for room on the disk of its output, which is full: free some"
        assert not any("attach" in (each.command or "") for each in why.advice)
        os.unlink(disk / "filler")
        until(lambda: not job(client, "shown").disk_full, "room for what is printed")
        (ended,) = wait(client, "shown")
        assert (ended.state, ended.disk_full) == ("succeeded", None)
        assert Path(daemons.home.stdout(1)).read_bytes().endswith(b"\r\n100000\r\n")
        start(client, ["sh", "-c", "echo Name?; read name"], name="asks", pty=True)
        until(lambda: "attach 2" in client.call(p.AskWhy(job="asks")).summary, "the question")
        fill(disk / "filler")
        why = client.call(p.AskWhy(job="asks"))
        assert why.summary.endswith(
            "terminal; the disk of its output is full: what it prints is not seen before there is room"
        )
        assert [each.command for each in why.advice][:2] == ["df -h", "corral send 2 TEXT"]
        assert client.call(p.StopJobs(ids=("asks",))).reports[0].state == "stopped"
