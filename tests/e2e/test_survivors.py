"""What a stop cannot end is named, with the reason; the job stays `stopping`, and ends once it can."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.command import Corral
from e2e.users import NOBODY, SOMEBODY, as_ordinary_user, his_folder
from until import until

__all__ = ["his_folder"]

FREEZER = Path("/sys/fs/cgroup/freezer")
UNMARKED = (
    "import resource, sys, time; resource.setrlimit(10, (-1, -1)); print('ready', flush=True); time.sleep(60)"
)


@contextlib.contextmanager
def impatient(directory: Path, *prefix: str) -> Iterator[Corral]:
    """The command, with a daemon that gives its word soon. Ends it with its jobs."""
    (directory / "work").mkdir()
    if prefix:
        os.chown(directory / "work", NOBODY, NOBODY)
    command = Corral(directory / "home", directory / "work")
    command.argv = (*prefix, *command.argv)
    program = os.path.join(os.path.dirname(__file__), "impatient.py")
    argv = [*prefix, sys.executable, program, str(command.home)]
    daemon = subprocess.Popen(argv, env=command.environment, start_new_session=True, cwd=directory)
    try:
        until(lambda: (command.home / "socket").exists(), "the daemon to listen")
        yield command
    finally:
        command("daemon", "stop", "--jobs", "stop")
        with contextlib.suppress(subprocess.TimeoutExpired):
            daemon.wait(10)
        daemon.kill()
        daemon.wait()


def ready(command: Corral, job: str, text: bytes = b"ready") -> None:
    path = command.home / "jobs" / job / "stdout"
    until(lambda: path.exists() and text in path.read_bytes(), f"job {job} to be ready")


def stopped(command: Corral, job: str) -> tuple[int, dict[str, Any]]:
    ended = command("stop", "--grace", "0.1", "--json", job)
    (report,) = json.loads(ended.stdout)
    return ended.returncode, report


def state_of(command: Corral, job: str) -> str:
    return str(json.loads(command.ok("ps", "--json", job))[0]["state"])


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="only root can make a program of another user",
)
def test_a_process_of_another_user_survives_by_name_and_nothing_else_does(his_folder: Path) -> None:
    """A set-uid program that became its owner for good: neither its mark nor a signal is ours, two other ways tell."""
    program = his_folder / "setpriv"
    shutil.copy(shutil.which("setpriv") or "", program)
    os.chown(program, SOMEBODY, SOMEBODY)
    program.chmod(0o4755)
    # In front of it a process of our own that ends by TERM; behind it the same, in the background.
    line = f"{program} --reuid {SOMEBODY} sleep 60 & echo ready; sleep 60"
    with impatient(his_folder, *as_ordinary_user()) as command:
        job = command.ok("run", "--shell", line)
        ready(command, job)

        def foreign() -> list[int]:
            pids = [int(entry) for entry in os.listdir("/proc") if entry.isdecimal()]
            return [pid for pid in pids if owner(pid) == SOMEBODY and parent_session(pid) in pids]

        (stranger,) = until(foreign, "it to be of another user")
        status, report = stopped(command, job)
        assert status == 1
        assert [(one["pid"], one["stage"]) for one in report["survivors"]] == [(stranger, 1)]
        assert "not permitted" in report["survivors"][0]["reason"]
        ended = [process for process in report["processes"] if process["pid"] != stranger]
        assert {process["ended_by"] for process in ended} == {"TERM"}
        assert state_of(command, job) == "stopping"
        os.kill(stranger, signal.SIGKILL)
        until(lambda: state_of(command, job) == "stopped", "the job to end with it")


def owner(pid: int) -> int | None:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except FileNotFoundError:
        return None


def parent_session(pid: int) -> int:
    """The session that it is in; its leader is the job's shell."""
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return -1


def test_what_took_its_mark_off_is_named_and_not_signalled(tmp_path: Path) -> None:
    """As a stage of its own it survives; below one it only looks like the job's."""
    with impatient(tmp_path) as command:
        leader = command.ok("run", "--", sys.executable, "-c", UNMARKED)
        ready(command, leader)
        (pid,) = [stage["pid"] for stage in json.loads(command.ok("ps", "--json", leader))[0]["stages"]]
        child = command.ok("run", "--shell", f'{sys.executable} -c "{UNMARKED}" & echo $!; sleep 60')
        ready(command, child)
        alike = int(
            next(filter(bytes.isdigit, (command.home / "jobs" / child / "stdout").read_bytes().split()))
        )
        try:
            status, report = stopped(command, leader)
            assert status == 1
            assert [(one["pid"], one["stage"]) for one in report["survivors"]] == [(pid, 1)]
            assert "carries no mark of this home" in report["survivors"][0]["reason"]
            assert report["processes"][0]["signals"] == []
            status, report = stopped(command, child)
            assert status == 0
            assert report["note"].startswith("not signalled, since nothing proves that it is of this job: ")
            assert f"{alike} " in report["note"]
            assert alike not in {process["pid"] for process in report["processes"]}
        finally:
            os.kill(alike, signal.SIGKILL)
            os.kill(pid, signal.SIGKILL)
        until(lambda: state_of(command, leader) == "stopped", "the job to end")


@pytest.mark.skipif(
    not (FREEZER / "cgroup.procs").exists() or not os.access(FREEZER, os.W_OK), reason="no freezer to be had"
)
def test_what_kill_waits_for_in_the_kernel_is_named_with_where_it_is(tmp_path: Path) -> None:
    """A frozen process is in state D, and KILL takes effect once it is thawed (cgroup-v1/freezer-subsystem)."""
    group = FREEZER / f"corral-test-{os.getpid()}"
    group.mkdir()
    try:
        with impatient(tmp_path) as command:
            job = command.ok("run", "sleep", "60")
            (pid,) = [stage["pid"] for stage in json.loads(command.ok("ps", "--json", job))[0]["stages"]]
            (group / "cgroup.procs").write_text(str(pid))
            (group / "freezer.state").write_text("FROZEN")
            try:
                until(lambda: (group / "freezer.state").read_text() == "FROZEN\n", "it to be frozen")
                status, report = stopped(command, job)
                told = command("stop", job).stdout
            finally:
                (group / "freezer.state").write_text("THAWED")
            assert status == 1
            (survivor,) = report["survivors"]
            assert (survivor["pid"], survivor["state"]) == (pid, "D")
            assert survivor["blocked_in"]
            assert survivor["reason"] == (
                f"blocked in the kernel (state D) in {survivor['blocked_in']}; KILL is waiting for it"
            )
            assert f"LEFT  state D in {survivor['blocked_in']}" in told
            until(lambda: state_of(command, job) == "stopped", "KILL to take effect")
    finally:
        until(lambda: not (group / "cgroup.procs").read_text(), "the group to be empty")
        group.rmdir()
