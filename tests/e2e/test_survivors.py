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


def set_uid_program(folder: Path) -> Path:
    """A setpriv that belongs to somebody else, whose rights it has."""
    program = folder / "setpriv"
    shutil.copy(shutil.which("setpriv") or "", program)
    os.chown(program, SOMEBODY, SOMEBODY)
    program.chmod(0o4755)
    return program


def state_of(command: Corral, job: str) -> str:
    return str(json.loads(command.ok("ps", "--json", job))[0]["state"])


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="only root can make a program of another user",
)
def test_a_process_of_another_user_survives_by_name_and_nothing_else_does(his_folder: Path) -> None:
    """A set-uid program that became its owner for good: neither its mark nor a signal is ours, two other ways tell."""
    program = set_uid_program(his_folder)
    # In front of it a process of our own that ends by TERM; behind it the same, in the background.
    line = f"{program} --reuid {SOMEBODY} sleep 60 & echo ready; sleep 60"
    with impatient(his_folder, *as_ordinary_user()) as command:
        job = command.ok("run", "--shell", line)
        ready(command, job)
        leader = json.loads(command.ok("ps", "--json", job))[0]["stages"][0]["pid"]

        def foreign() -> list[int]:
            pids = [int(entry) for entry in os.listdir("/proc") if entry.isdecimal()]
            return [pid for pid in pids if owner(pid) == SOMEBODY and session_of(pid) == leader]

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


def session_of(pid: int) -> int:
    """The session that it is in; the leader of a job's is its stage."""
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return -1


def test_what_took_its_mark_off_is_ended_as_any_other(tmp_path: Path) -> None:
    """As a stage of its own, and below one."""
    with impatient(tmp_path) as command:
        leader = command.ok("run", "--", sys.executable, "-c", UNMARKED)
        child = command.ok("run", "--shell", f'{sys.executable} -c "{UNMARKED}" & sleep 60')
        for job, count in ((leader, 1), (child, 3)):
            ready(command, job)
            status, report = stopped(command, job)
            assert (status, report["note"], report["survivors"], report["in_doubt"]) == (0, None, [], [])
            assert [one["ended_by"] for one in report["processes"]] == ["TERM"] * count


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None or shutil.which("prlimit") is None,
    reason="only root can make a program of another user",
)
def test_a_leader_of_another_user_without_a_mark_survives_with_what_ends_it(his_folder: Path) -> None:
    """As sudo does it: the limits are reset, and then it is somebody else. It is the job's own child all the same."""
    program = set_uid_program(his_folder)
    words = (
        "prlimit",
        "--locks=unlimited",
        str(program),
        "--reuid",
        str(SOMEBODY),
        "sh",
        "-c",
        "sleep 60; :",
    )
    with impatient(his_folder, *as_ordinary_user()) as command:
        job = command.ok("run", "--", *words)

        def tree() -> list[int]:
            view = json.loads(command.ok("ps", "--json", job))[0]
            return [view["stages"][0]["pid"]] if view["processes"] == 2 else []

        (leader,) = until(tree, "both to be counted")
        until(lambda: owner(leader) == SOMEBODY, "it to be of another user")
        status, report = stopped(command, job)
        assert status == 1
        assert [one["stage"] for one in report["survivors"]] == [1, 1]
        for one in report["survivors"]:
            assert one["reason"].endswith(f"we are not permitted to signal; sudo kill {one['pid']} ends it")
        assert "Nothing of it is left" not in command("stop", job).stdout
        for one in report["survivors"]:
            os.kill(one["pid"], signal.SIGKILL)
        until(lambda: state_of(command, job) == "stopped", "the job to end with it")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a set-gid program of another group")
def test_a_set_gid_daemon_is_the_job_s_and_nobody_else_s(his_folder: Path) -> None:
    """As ssh-agent is: prlimit(2) and its environment are closed to us, and its parents are gone."""
    program = his_folder / "sleep"
    shutil.copy(shutil.which("sleep") or "", program)
    os.chown(program, NOBODY, SOMEBODY)
    program.chmod(0o2755)
    with impatient(his_folder, *as_ordinary_user()) as command:
        other = command.ok("run", "sleep", "60")
        job = command.ok("run", "--shell", f"setsid -f {program} 60")

        def left() -> int:
            return int(json.loads(command.ok("ps", "--json", job))[0]["leftovers"])

        until(lambda: left() == 1, "the daemon to be counted")
        status, report = stopped(command, other)
        assert (status, report["note"], len(report["processes"]), report["in_doubt"]) == (0, None, 1, [])
        assert left() == 1
        status, report = stopped(command, job)
        assert (status, [one["ended_by"] for one in report["processes"]]) == (0, ["TERM"])
        assert left() == 0


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
