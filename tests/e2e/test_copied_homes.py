"""A copy of a home is a home of its own, and touches nothing of the original's; one that was moved goes on."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.command import Corral
from until import until


@contextlib.contextmanager
def at(corral: Corral, home: Path) -> Iterator[Corral]:
    """The command with another home, whose daemon and jobs are ended."""
    other = Corral(home, corral.directory)
    yield other
    other("daemon", "stop", "--jobs", "stop")
    until(lambda: not other.processes(), "nothing of it to be left")


def jobs(corral: Corral) -> dict[str, dict[str, Any]]:
    ended = corral("ps", "-a", "--json")
    assert ended.returncode == 0, ended
    return {job["id"]: job for job in json.loads(ended.stdout)}


def states(corral: Corral) -> dict[str, str]:
    return {number: job["state"] for number, job in jobs(corral).items()}


def by_cp(home: Path, copy: Path) -> None:
    subprocess.run(["cp", "-a", home, copy], check=True)


def by_tar(home: Path, copy: Path) -> None:
    """As a backup that is restored beside the original."""
    copy.mkdir()
    with subprocess.Popen(["tar", "-C", home, "-cf", "-", "."], stdout=subprocess.PIPE) as packed:
        subprocess.run(["tar", "-C", copy, "-xf", "-"], stdin=packed.stdout, check=True)


def by_files(home: Path, copy: Path) -> None:
    """The journal alone."""
    copy.mkdir(mode=0o700)
    for path in home.glob("corral.db*"):
        shutil.copy(path, copy)


def populate(corral: Corral, note: Path) -> None:
    """Job 1 runs, has a time limit that is soon over, and job 2 waits for it; 3 has left something behind."""
    corral.ok("run", "-q", "-n", "one", "sleep", "100")
    corral.ok("run", "-q", "--after", "1", "--shell", f"echo ran >> {note}")
    corral.ok("run", "-q", "--shell", "sleep 101 & exit 0")
    corral("wait", "3")
    until(lambda: " +1 left " in corral.ok("ps", "-a"), "the leftovers to be found")


def kill_daemon(corral: Corral) -> None:
    pid = json.loads(corral.ok("daemon", "status", "--json"))["pid"]
    os.kill(pid, signal.SIGKILL)
    until(
        lambda: not os.path.exists(f"/proc/{pid}") or "Z" in Path(f"/proc/{pid}/stat").read_text(), "its end"
    )


@pytest.mark.parametrize(
    ("copied", "is_served"), [(by_cp, True), (by_cp, False), (by_tar, True), (by_files, False)]
)
def test_a_copy_leaves_the_jobs_to_the_original(
    corral: Corral, tmp_path: Path, copied: Callable[[Path, Path], None], is_served: bool
) -> None:
    note = tmp_path / "note"
    populate(corral, note)
    if not is_served:
        kill_daemon(corral)
    copied(corral.home, tmp_path / "copy")
    before = corral.processes()
    with at(corral, tmp_path / "copy") as copy:
        reason = f"this home is a copy of {corral.home}; its jobs belong to that"
        if copied is not by_files:
            assert f"it is a copy of {corral.home}, which has the jobs" in copy("daemon", "status").stdout
        first = copy("ps", "-a", "--json")
        assert f"{copy.home} is a copy of {corral.home}: 2 jobs that had not ended" in first.stderr
        found = {job["id"]: job for job in json.loads(first.stdout)}
        assert [(found[one]["state"], found[one]["reason"]) for one in ("1", "2")] == [("lost", reason)] * 2
        assert found["3"]["leftovers"] == 0
        # A second daemon of the copy finds the same, and says nothing any more.
        copy.ok("daemon", "stop")
        assert states(copy) == {"1": "lost", "2": "lost", "3": "succeeded"}
        assert copy("ps", "-a").stderr == ""
        assert copy("stop", "1", "3").returncode == 0
        assert copy.ok("run", "-q", "--wait", "echo", "works") == "works"
    assert set(before) <= set(corral.processes())
    assert states(corral) == {"1": "running", "2": "queued", "3": "succeeded"}
    assert jobs(corral)["3"]["leftovers"] == 1
    assert not note.exists()
    assert corral("stop", "1", "3").returncode == 0


def test_a_copy_of_a_copy(corral: Corral, tmp_path: Path) -> None:
    corral.ok("run", "-q", "--wait", "true")
    by_cp(corral.home, tmp_path / "copy")
    with at(corral, tmp_path / "copy") as copy, at(corral, tmp_path / "third") as third:
        copy("run", "-q", "sleep", "100")
        by_cp(copy.home, third.home)
        assert jobs(third)["2"]["reason"] == f"this home is a copy of {copy.home}; its jobs belong to that"
        assert states(copy) == {"1": "succeeded", "2": "running"}


@pytest.mark.parametrize("is_served", [True, False])
def test_a_copy_whose_original_was_removed(corral: Corral, tmp_path: Path, is_served: bool) -> None:
    """Where a daemon goes on with the jobs, they are its; else the copy is all that there is, as after a move to another disk."""
    corral.ok("run", "-q", "sleep", "100")
    if not is_served:
        kill_daemon(corral)
    by_cp(corral.home, tmp_path / "copy")
    shutil.rmtree(corral.home)
    with at(corral, tmp_path / "copy") as copy:
        assert states(copy) == {"1": "lost" if is_served else "running"}
        if is_served:
            assert states(corral) == {"1": "running"}


@pytest.mark.parametrize("opened", ["copy", "original"])
def test_a_copy_in_the_place_of_the_original(corral: Corral, tmp_path: Path, opened: str) -> None:
    """Neither paths nor times tell; the running job does, by the folder it writes to."""
    corral.ok("run", "-q", "sleep", "100")
    kill_daemon(corral)
    moved = tmp_path / "moved"
    corral.home.rename(moved)
    by_cp(moved, corral.home)
    with at(corral, moved) as original:
        for one in (corral, original) if opened == "copy" else (original, corral):
            assert states(one) == {"1": "running" if one is original else "lost"}


def test_one_folder_by_other_paths_is_one_home(corral: Corral, tmp_path: Path) -> None:
    corral.ok("run", "-q", "sleep", "100")
    kill_daemon(corral)
    (tmp_path / "link").symlink_to(corral.home)
    with at(corral, tmp_path / "link") as linked:
        assert states(linked) == {"1": "running"}
        assert states(corral) == {"1": "running"}
        assert linked("ps").stderr == ""


def test_a_home_that_was_moved_while_no_daemon_ran(corral: Corral, tmp_path: Path) -> None:
    corral.ok("run", "-q", "sleep", "100")
    kill_daemon(corral)
    corral.home.rename(tmp_path / "moved")
    with at(corral, tmp_path / "moved") as moved:
        assert states(moved) == {"1": "running"}
        assert moved("stop", "1").returncode == 0


def test_a_copy_by_hard_links_is_refused(corral: Corral, tmp_path: Path) -> None:
    corral.ok("run", "-q", "sleep", "100")
    kill_daemon(corral)
    subprocess.run(["cp", "-al", corral.home, tmp_path / "copy"], check=True)
    refused = Corral(tmp_path / "copy", corral.directory)("ps")
    assert refused.returncode == 125
    assert "hard link" in refused.stderr
    assert states(corral) == {"1": "running"}
