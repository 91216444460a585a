"""Batches as a whole, by the command line and a real daemon: each verb on them, and daemons that die meanwhile."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

from e2e.command import Corral
from until import until


def job(corral: Corral, reference: str = "@") -> dict[str, Any]:
    (found,) = json.loads(corral.ok("ps", "-a", "--json", reference))[:1]
    return dict(found)


def progress(corral: Corral, reference: str = "@") -> dict[str, Any]:
    return dict(job(corral, reference)["batch_progress"])


def started(corral: Corral, *words: str) -> str:
    return corral.ok("each", *words)


def daemon_pid(corral: Corral) -> int:
    return int(json.loads(corral.ok("daemon", "status", "--json"))["pid"])


def test_a_batch_is_one_line_and_opens_into_its_jobs(corral: Corral) -> None:
    batch = started(corral, "-n", "enc", "-j2", "sleep", ":::", "60", "61", "62")
    until(lambda: progress(corral)["running"] == 2, "two jobs to run")
    assert corral.ok("ps", "-q").split() == [batch]
    assert "0/3, 2 run" in corral.ok("ps")
    assert corral.ok("ps", "-q", "enc").split() == [f"{batch}.1", f"{batch}.2"]
    listed = json.loads(corral.ok("ps", "--json", "enc"))
    assert [each["id"] for each in listed] == [batch, f"{batch}.1", f"{batch}.2"]
    assert [each["kind"] for each in listed] == ["batch", "job", "job"]
    assert [each["input"] for each in listed] == [None, "60", "61"]
    waiting = json.loads(corral.ok("show", "--json", "enc.3"))
    assert (waiting["state"], waiting["command"], waiting["batch"]) == ("queued", "sleep 62", batch)
    assert corral("show", "enc.4").returncode == 1
    assert "never started" in corral.ok("stop", "enc.3")
    assert corral.ok("stop", f"{batch}.1").endswith("by TERM.")
    corral.ok("stop", "enc")
    ended = job(corral)
    assert (ended["state"], ended["exit_status"]) == ("stopped", 143)
    counts = ended["batch_progress"]
    assert (counts["total"], counts["stopped"], counts["skipped"]) == (3, 2, 1)
    assert not corral.processes()[1:]


def test_failures_are_grouped_and_repeated(corral: Corral) -> None:
    line = "i={}; echo out $i; echo bad thing $i >&2; exit $((i % 2 * 9))"
    ended = corral("each", "-w", "-j2", "--shell", line, ":::", "1", "2", "3", "4")
    assert (ended.returncode, sorted(ended.stdout.split())) == (2, ["1", "2", "3", "4", *["out"] * 4])
    failed = job(corral)
    assert failed["failures"] == [{"cause": "exit 9: bad thing N", "count": 2, "ids": ["1.1", "1.3"]}]
    assert "2 times exit 9: bad thing N (1.1, 1.3)" in corral.ok("why", "1")
    assert "exit 9: bad thing N" in corral.ok("show", "1")
    assert corral("logs", "1").stdout == "out 1\nout 2\nout 3\nout 4\n"
    assert corral("logs", "1").stderr == "".join(f"bad thing {number}\n" for number in range(1, 5))
    assert corral("logs", "--stdout", "1.3").stdout == "out 3\n"
    again = corral.ok("restart", "--failed", "1")
    assert corral("wait", again).returncode == 2
    repeated = json.loads(corral.ok("ps", "-a", "--json", again))
    assert [each["input"] for each in repeated] == [None, "1", "3"]
    alone = corral.ok("restart", "1.2")
    assert corral("wait", alone).returncode == 0
    assert (job(corral, alone)["kind"], job(corral, alone)["batch"]) == ("job", None)
    assert corral("restart", "--failed", alone).returncode == 1


def test_an_ended_batch_is_known_without_a_daemon(corral: Corral) -> None:
    corral("each", "-w", "--shell", "i={}; seq $i; exit $((i > 100))", ":::", "3", "2000")
    corral.ok("daemon", "stop")
    listed = json.loads(corral.ok("ps", "-a", "--json", "1"))
    assert [(each["id"], each["state"]) for each in listed] == [
        ("1", "failed"), ("1.2", "failed"), ("1.1", "succeeded")
    ]  # fmt: skip
    assert corral.ok("logs", "1").split()[-1] == "2000"
    assert corral.ok("logs", "1.1") == "1\n2\n3"
    assert json.loads(corral.ok("show", "--json", "1.2"))["exit_status"] == 1
    assert corral("show", "1.3").returncode == 1
    assert not corral.processes()


def test_retries_halt_and_limits(corral: Corral, tmp_path: Path) -> None:
    tries = "i={}; echo x >> t$i; test $(wc -l < t$i) -ge 3"
    words = ("-w", "-C", str(tmp_path), "--retries", "2", "--retry-delay", "0.01", "--shell", tries)
    assert corral("each", *words, ":::", "a", "b").returncode == 0
    one = job(corral, "1.1")
    assert (one["attempt"], len(one["attempts"]), one["attempts"][0]["exit_status"]) == (3, 2, 1)
    assert progress(corral, "1")["retried"] == 4
    halted = corral("each", "-w", "-j1", "--halt", "soon,fail=2", "false", ":::", *"abcdef")
    assert halted.returncode == 2
    last = job(corral, "2")
    assert (last["state"], last["reason"]) == ("stopped", "halted: 2 failed")
    assert (last["batch_progress"]["failed"], last["batch_progress"]["skipped"]) == (2, 4)
    now = corral("each", "-w", "-j2", "--halt", "now", "--shell", "i={}; sleep $i; exit 1", ":::", "0", "60")
    assert now.returncode == 1
    assert job(corral, "3")["batch_progress"]["stopped"] == 1
    slow = corral("each", "-w", "-j1", "--timeout", "500%", "sleep", ":::", "0.1", "0.1", "0.1", "60")
    assert (slow.returncode, job(corral, "4.4")["state"]) == (1, "timed_out")


def test_what_succeeded_is_left_out_and_each_end_is_logged(corral: Corral, tmp_path: Path) -> None:
    log = tmp_path / "joblog"
    line = 'i={}; test "$i" != b -o -e ' + str(tmp_path / "done")
    words = ("-w", "--joblog", str(log), "--shell", line, ":::", "a", "b", "c c")
    assert corral("each", *words).returncode == 1
    head, *rows = log.read_text().splitlines()
    assert head.split("\t") == [
        "Seq",
        "Host",
        "Starttime",
        "JobRuntime",
        "Send",
        "Receive",
        "Exitval",
        "Signal",
        "Command",
    ]
    assert sorted((row.split("\t")[0], row.split("\t")[6]) for row in rows) == [
        ("1", "0"),
        ("2", "1"),
        ("3", "0"),
    ]
    (tmp_path / "done").touch()
    again = corral("each", "--resume", *words)
    assert again.returncode == 0
    assert "2 inputs have succeeded before, and are left out" in again.stderr
    assert progress(corral)["total"] == 1
    assert len(log.read_text().splitlines()) == 5


def test_it_is_paused_as_a_whole_and_goes_on(corral: Corral) -> None:
    batch = started(corral, "-j2", "sleep", ":::", "0.3", "60", "60", "0.3")
    until(lambda: progress(corral)["running"] == 2, "two jobs to run")
    corral.ok("pause", batch)
    assert job(corral, f"{batch}.2")["state"] == "paused"
    assert job(corral)["state"] == "paused"
    corral.ok("resume", batch)
    until(lambda: progress(corral)["succeeded"] == 1, "the short job to end")
    corral.ok("signal", "KILL", batch)
    until(lambda: job(corral)["state"] == "failed", "the batch to end")
    for verb in (
        ("peek", batch),
        ("send", batch, "x"),
        ("rm", f"{batch}.1"),
        ("run", "--from", batch, "cat"),
    ):
        assert corral(*verb).returncode in (1, 125), verb
    corral.ok("rm", batch)
    assert corral("show", f"{batch}.1").returncode == 1
    assert not (Path(corral.home) / "jobs" / batch).exists()


def test_none_runs_twice_and_none_is_left_out_however_often_the_daemon_dies(
    corral: Corral, tmp_path: Path
) -> None:
    count = 300
    line = f"echo $CORRAL_JOB_ID >> {tmp_path}/ran.{{#}}; sleep 0.03"
    batch = started(corral, "-j4", "--shell", line, ":::", *map(str, range(count)))
    for turn in range(6):
        so_far = progress(corral)["succeeded"]
        until(
            lambda so_far=so_far: progress(corral)["succeeded"] >= min(count, so_far + 15), "some to succeed"
        )  # type: ignore[misc]
        if turn % 3 == 2:
            corral("daemon", "restart")
        else:
            os.kill(daemon_pid(corral), signal.SIGKILL)
    corral("wait", batch)
    ran = Counter(line for path in tmp_path.glob("ran.*") for line in path.read_text().split())
    assert set(ran.values()) == {1}
    counts = progress(corral)
    lost = count - counts["succeeded"]
    assert (counts["total"], counts["failed"]) == (count, lost)
    assert {group["cause"] for group in job(corral)["failures"]} <= {"lost"}
    assert len(ran) >= count - lost
    assert lost <= 4 * 6


def test_whoever_gives_the_inputs_may_die(corral: Corral, tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.mkdir()
    feeder = corral.start("each", "-j1", "touch", f"{made}/{{}}", stdin=-1)
    assert feeder.stdin is not None
    feeder.stdin.write(b"a\nb\n")
    feeder.stdin.flush()
    until(lambda: len(list(made.iterdir())) == 2, "what came to run")
    assert progress(corral)["total"] is None
    feeder.kill()
    feeder.communicate()
    until(lambda: job(corral)["state"] == "succeeded", "the batch to end")
    assert job(corral)["reason"] == "its input ended early"


def test_a_missing_program_makes_no_batch(corral: Corral) -> None:
    missing = corral("each", "no-such-program", ":::", "a")
    assert (missing.returncode, missing.stdout) == (127, "")
    assert json.loads(corral.ok("ps", "-a", "--json")) == []
    named = corral("each", "-w", "{}", ":::", "no-such-program", "true")
    assert named.returncode == 1
    assert job(corral, "1.1")["exit_status"] == 127
