"""A job that puts something else in place of its output files holds up nobody, and what is there is said."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from corral.model.errors import CorralError
from corral.protocol import requests as p
from e2e.command import Corral
from e2e.daemons import altered, job, start, wait
from until import until

HERE = 'cd "$CORRAL_HOME/jobs/$CORRAL_JOB_ID"'
REPLACED = {
    "a FIFO": "mkfifo f; mv f stdout",
    "a symlink": "ln -s /no/such/place f; mv f stdout",
    "a folder": "rm stdout; mkdir stdout",
    "a socket": "python3 -S -c 'import _socket; _socket.socket(1, 1).bind(\"f\")'; mv f stdout",
}


@pytest.mark.parametrize("kind", REPLACED)
def test_it_is_said_and_all_goes_on(shared: Corral, kind: str) -> None:
    one = shared.ok("run", "--shell", f"{HERE}; {REPLACED[kind]}; echo err >&2; exec sleep 60")
    until(lambda: "err" in shared("logs", "--stderr", one).stderr, "it to have replaced its stdout")
    said = f"{kind} stands in place of the file that was made for the output"
    logs = shared("logs", "--stdout", one)
    assert (logs.returncode, said in logs.stderr) == (125, True), logs
    assert shared("logs", one).returncode == 125
    until(
        lambda: f"not followed: {shared.home}/jobs/{one}/stdout: {said}" in shared.ok("show", one),
        "it to be said",
    )
    # All else of it is observed, and others are served.
    until(lambda: "sleep" in shared.ok("show", one), "its process to be seen")
    assert shared.ok("run", "--wait", "echo", "others go on") == "others go on"
    assert shared("run", "--wait", "--from", one, "cat").returncode == 125
    assert shared.ok("stop", one)
    shared.ok("rm", one)
    assert not os.path.lexists(shared.home / "jobs" / one)


@pytest.mark.parametrize(
    ("replaced", "said"),
    [
        (REPLACED["a socket"], "a socket stands in place of the file that was made for the output"),
        ("rm stdout", "its output was removed from"),
        ("mv stdout away", "its output was removed from"),
        ("echo y > f; mv f stdout", "stdout was made shorter"),
    ],
)
def test_it_is_said_of_a_file_that_was_followed_before(shared: Corral, replaced: str, said: str) -> None:
    line = f"{HERE}; mkfifo go; echo some more; read x < go; {replaced}; exec sleep 60"
    one = shared.ok("run", "--shell", line)
    until(lambda: "stdout 10" in shared.ok("show", one), "its output to be followed")
    subprocess.run(["sh", "-c", f": > {shared.home}/jobs/{one}/go"], check=True, timeout=30)
    until(lambda: said in shared.ok("show", one), "it to be said")
    assert shared.ok("stop", one)


def test_a_folder_that_is_a_link_by_now_is_not_followed(corral: Corral, tmp_path: Path) -> None:
    corral.ok(
        "run",
        "--shell",
        f"cd $CORRAL_HOME/jobs; mv 1 {tmp_path}/away; ln -s {tmp_path}/away 1; exec sleep 60",
    )
    until(lambda: (corral.home / "jobs" / "1").is_symlink(), "it to have replaced its folder")
    logs = corral("logs")
    assert (logs.returncode, "something else stands in place of the job's folder" in logs.stderr) == (
        125,
        True,
    )
    assert corral.ok("run", "--wait", "echo", "others go on") == "others go on"
    assert corral.ok("stop", "1")


def test_what_stands_there_before_the_start_fails_it(corral: Corral) -> None:
    first = int(corral.ok("run", "--shell", "cd $CORRAL_HOME/jobs; mkdir 2; mkfifo 2/stdout 2/stderr.1"))
    corral.ok("wait", str(first))
    ended = corral("run", "echo", "x")
    assert (ended.returncode, "a FIFO stands in place" in ended.stderr) == (125, True), ended
    assert corral.ok("run", "--wait", "echo", "others go on") == "others go on"


def test_a_note_that_is_a_fifo_keeps_all_of_the_output(corral: Corral) -> None:
    line = f"{HERE}; mkfifo stdout.dropped; seq 100000; mkfifo go; read x < go"
    corral.ok("run", "--max-output", "64K", "--shell", line)
    until(lambda: "oldest bytes cannot be dropped: a FIFO stands" in corral.ok("show", "1"), "it to be said")
    assert corral.ok("stop", "1")
    assert (corral.home / "jobs" / "1" / "stdout").stat().st_size == 588895


def test_a_job_does_not_find_its_output_to_be_non_blocking(corral: Corral) -> None:
    line = "grep flags /proc/self/fdinfo/1"
    flags = int(corral.ok("run", "--wait", "--", *line.split()).split()[1], 8)
    assert flags & os.O_NONBLOCK == 0
    assert flags & os.O_APPEND


def test_others_are_served_while_a_job_is_deleted(tmp_path: Path) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    slowly = f"""
from corral.retention import deletion
delete = deletion.delete_folder
def delete_slowly(path):
    open({str(go)!r}).close()
    return delete(path)
deletion.delete_folder = delete_slowly
"""
    with altered(tmp_path / "home", slowly) as daemons, daemons.client(start=False) as client:
        wait(client, *start(client, "true"))
        with daemons.client(start=False) as other:
            removal = other.begin(p.RemoveJobs(ids=("1",), force=False))
            assert wait(client, *start(client, "true"))[0].state == "succeeded"
            with pytest.raises(CorralError, match="being cleaned"):
                client.call(p.ShowJob(job="1"))
            assert removal.result(0) is None
            subprocess.run(["sh", "-c", f": > {go}"], check=True, timeout=30)
            assert removal.result(30).done == ("job 1 removed",)
        assert not os.path.exists(daemons.home.job(1))
        assert [each.id for each in client.call(p.ListJobs(all=True)).jobs] == ["2"]
        assert job(client, "2").state == "succeeded"
