"""Every verb on real jobs: what it prints, where, and what it exits with."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from e2e.command import Corral, read_all
from until import ZOO, until


def _job(corral: Corral, job: str = "@") -> dict[str, Any]:
    (found,) = json.loads(corral.ok("ps", "--json", job))
    assert isinstance(found, dict)
    return found


def _stdout_of(corral: Corral, job: str) -> bytes:
    path = corral.home / "jobs" / job / "stdout"
    return path.read_bytes() if path.exists() else b""


def _ready(corral: Corral, *words: str) -> str:
    """Run a program that prints `ready`; its id once it has."""
    job = corral.ok("run", *words)
    until(lambda: b"ready" in _stdout_of(corral, job), f"job {job} to be ready")
    return job


def _is_alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


# ---- ps


def test_ps_lists_what_has_not_ended(corral: Corral) -> None:
    corral.ok("run", "-n", "nap", "sleep 100 | cat")
    corral.ok("run", "--wait", "true")
    header, row = corral.ok("ps").splitlines()
    assert header.split()[:3] == ["ID", "NAME", "STATE"]
    assert row.split()[:3] == ["1", "nap", "running"]
    assert row.endswith("sleep 100 | cat")
    assert corral.ok("ps", "-a", "-q").split() == ["1", "2"]
    assert corral.ok("ps", "-q", "--state", "succeeded") == "2"
    assert corral.ok("ps", "-q", "2") == "2"


def test_the_quick_look_and_the_typed_one_agree(corral: Corral) -> None:
    corral.ok("run", "-n", "nap", "sleep", "100")
    corral("run", "--wait", "sh", "-c", "exit 3")
    until(lambda: _job(corral, "nap")["health"] is not None, "the first sample")
    quick = json.loads(corral.ok("ps", "-a", "--json"))
    shown = [json.loads(corral.ok("show", "--json", job)) for job in ("1", "2")]
    for here, there in zip(quick, shown, strict=True):
        assert here.keys() <= there.keys()
        assert [here[key] for key in ("id", "name", "state", "command", "created", "exit_status")] == [
            there[key] for key in ("id", "name", "state", "command", "created", "exit_status")
        ]
    assert corral.ok("ps", "--state=failed", "-q") == corral.ok("ps", "--state", "failed", "-q") == "2"


def test_ps_on_a_terminal_ends_at_its_edge(corral: Corral) -> None:
    corral.ok("run", "echo", "x" * 500)
    assert max(map(len, corral.ok("ps", "-a").splitlines())) > 500
    leader, follower = pty.openpty()
    process = corral.start("ps", "-a", stdout=follower, env=corral.environment | {"COLUMNS": "60"})
    os.close(follower)
    shown = os.read(leader, 65536).decode()
    assert process.wait(timeout=30) == 0
    os.close(leader)
    read_all(process.stderr)
    assert max(len(line) for line in shown.splitlines()) == 60


# ---- ids


def test_ids_names_and_the_newest(corral: Corral) -> None:
    corral.ok("run", "-n", "build", "sleep", "100")
    corral.ok("run", "-n", "build", "sleep", "101")
    ended = corral("show", "build")
    assert ended.returncode == 1
    assert "1" in ended.stderr
    assert "2" in ended.stderr
    assert _job(corral)["id"] == "2"
    corral.ok("kill", "1")
    assert _job(corral, "build")["id"] == "2"
    corral.ok("kill", "2")
    assert _job(corral, "build")["id"] == "2"


# ---- logs


def test_logs_keep_the_streams_apart(served: Corral) -> None:
    served.ok("run", "-n", "both", "--shell", "echo out; echo err >&2")
    served("wait", "both")
    ended = served("logs", "both")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "out\n", "err\n")
    assert served("logs").stdout == "out\n"
    only = served("logs", "--stderr", "both")
    assert (only.stdout, only.stderr) == ("", "err\n")
    only = served("logs", "both", "--stdout")
    assert (only.stdout, only.stderr) == ("out\n", "")


def test_logs_of_one_stage_and_of_the_last_lines(corral: Corral) -> None:
    corral("run", "--wait", "sh -c 'echo first >&2' | sh -c 'echo second >&2; seq 5'")
    assert corral("logs", "--stage", "2").stderr == "second\n"
    assert corral("logs", "--stage", "3").returncode == 1
    assert corral("logs", "-n", "2", "--stdout").stdout == "4\n5\n"
    assert corral("logs", "--tail", "0").stdout == ""


def test_logs_into_a_pipe_are_the_bytes(served: Corral) -> None:
    served("run", "--wait", "printf", r"\033[31m\377\000[/]", text=False)
    assert served("logs", text=False).stdout == b"\x1b[31m\xff\x00[/]"


def test_logs_on_a_terminal_obey_colours_only(served: Corral) -> None:
    served("run", "--wait", "printf", r"\033[31mred\033[0m \033]0;evil\007 \033[2J\n")
    leader, follower = pty.openpty()
    process = served.start("logs", stdout=follower)
    assert process.wait(timeout=30) == 0
    shown = os.read(leader, 65536)
    raw = served.start("logs", "--raw", stdout=follower)
    assert raw.wait(timeout=30) == 0
    obeyed = os.read(leader, 65536)
    for descriptor in (leader, follower):
        os.close(descriptor)
    read_all(process.stderr)
    read_all(raw.stderr)
    assert b"\x1b[31mred" in shown
    assert b"\x1b]" not in shown
    assert b"\x1b[2J" not in shown
    assert b"\x1b]0;evil\x07" in obeyed


def test_logs_of_several_jobs_are_prefixed(served: Corral) -> None:
    for name in ("one", "two"):
        served.ok("run", "-n", name, "--shell", f"echo {name} out; echo {name} err >&2")
        served("wait", name)
    ended = served("logs", "one", "two")
    assert ended.stdout == "one | one out\ntwo | two out\n"
    assert sorted(ended.stderr.splitlines()) == ["one | one err", "two | two err"]
    half = served("logs", "one", "99")
    assert (half.returncode, half.stdout) == (1, "one out\n")


def test_logs_follow_to_the_end(served: Corral) -> None:
    _ready(served, "-i", "-n", "talker", "--shell", "echo ready; read x; echo $x; echo done >&2; exit 3")
    process = served.start("logs", "-f", "talker")
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    served.ok("send", "talker", "hello")
    assert process.wait(timeout=30) == 0
    assert read_all(process.stdout) == b"hello\n"
    assert read_all(process.stderr) == b"done\n"


def test_ctrl_c_in_logs_and_wait_touches_no_job(served: Corral) -> None:
    job = _ready(served, "--shell", "echo ready; sleep 100")
    follower = served.start("logs", "-f", job)
    assert follower.stdout is not None
    assert follower.stdout.readline() == b"ready\n"
    waiter = served.start("wait", job)
    until(lambda: _has_connected(waiter.pid), "wait to be waiting")
    for process in (follower, waiter):
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
        read_all(process.stdout)
        assert read_all(process.stderr) == b""
    assert _job(served)["state"] == "running"


def _has_connected(pid: int) -> bool:
    """Whether it sleeps in poll(2) with a socket open: it has sent its request."""
    try:
        links = [os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")]
        return (
            any(link.startswith("socket:") for link in links)
            and "poll" in Path(f"/proc/{pid}/wchan").read_text()
        )
    except FileNotFoundError:
        return False


# ---- stop, kill, signal, pause


def test_stop_says_how_each_ended_and_leaves_nothing(served: Corral) -> None:
    job = _ready(served, "-n", "stubborn", "--grace", "200ms", sys.executable, "-S", f"{ZOO}/ignores_term.py")
    ended = served("stop", job)
    assert ended.returncode == 0
    assert "stubborn" in ended.stdout
    assert "KILL" in ended.stdout
    assert ended.stdout.splitlines()[-1].startswith("Nothing of it is left. 1 process: 1 by KILL.")
    again = served("stop", job)
    assert again.returncode == 0
    assert "already ended" in again.stdout


def test_stop_several_and_unknown(corral: Corral) -> None:
    for _ in range(3):
        corral.ok("run", "-q", "sleep 100 | cat")
    ended = corral("stop", "--json", "1", "99", "2")
    assert ended.returncode == 1
    assert "99" in ended.stderr
    reports = json.loads(ended.stdout)
    assert [(report["id"], report["state"], report["survivors"]) for report in reports] == [
        ("1", "stopped", []),
        ("2", "stopped", []),
    ]
    assert {process["name"] for process in reports[0]["processes"]} == {"sleep", "cat"}
    assert corral.ok("ps", "-q") == "3"
    assert corral("stop", "--all").returncode == 0
    assert corral.ok("ps", "-q") == ""


def test_what_escaped_is_ended_and_named(served: Corral) -> None:
    job = _ready(served, sys.executable, "-S", f"{ZOO}/own_session.py")
    pids = [process["pid"] for process in json.loads(served.ok("show", "--json", job))["tree"]]
    ended = served("kill", job)
    assert ended.returncode == 0
    assert "session" in ended.stdout
    assert not any(_is_alive(pid) for pid in pids)


def test_stop_of_a_queued_job(served: Corral) -> None:
    served.ok("run", "-n", "first", "sleep", "100")
    served.ok("run", "-n", "second", "--after", "first", "true")
    assert served("stop", "second").returncode == 0
    second = _job(served, "second")
    assert (second["state"], second["reason"], second["exit_status"]) == ("stopped", "never started", None)
    assert served("wait", "second").returncode == 125


def test_a_signal_and_no_more(served: Corral) -> None:
    code = (
        "import signal, time\nsignal.signal(signal.SIGUSR1, lambda *_: print('got USR1', flush=True))\n"
        "print('ready', flush=True)\nwhile True: time.sleep(100)\n"
    )
    job = _ready(served, sys.executable, "-S", "-c", code)
    served.ok("signal", "USR1", job)
    until(lambda: b"got USR1" in _stdout_of(served, job), "the signal to arrive")
    assert _job(served)["state"] == "running"
    served.ok("signal", "15", job)
    assert served("wait", job).returncode == 143
    ended = _job(served)
    assert (ended["state"], ended["signal"]) == ("stopped", "TERM")
    assert "corral signal" in ended["reason"]
    assert served("signal", "TERM", job).returncode == 1


def test_pause_and_resume(served: Corral) -> None:
    served.ok("run", "-n", "nap", "sleep", "100")
    served.ok("pause", "nap")
    assert _job(served)["state"] == "paused"
    served.ok("resume", "nap")
    assert _job(served)["state"] == "running"
    ended = served("resume", "nap")
    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1


# ---- wait, restart, rm


def test_wait_takes_the_status_of_the_first_that_did_not_succeed(corral: Corral) -> None:
    corral.ok("run", "-q", "true")
    corral.ok("run", "-q", "sh", "-c", "exit 3")
    corral.ok("run", "-q", "sh", "-c", "exit 4")
    assert corral("wait", "1").returncode == 0
    assert corral("wait", "1", "3", "2").returncode == 4
    ended = corral("wait", "--json", "1", "2")
    assert ended.returncode == 3
    assert [job["exit_status"] for job in json.loads(ended.stdout)] == [0, 3]


def test_wait_for_any_and_not_for_ever(corral: Corral) -> None:
    corral.ok("run", "-q", "sleep", "100")
    corral.ok("run", "-q", "true")
    ended = corral("wait", "--any", "1", "2")
    assert (ended.returncode, ended.stdout) == (0, "2\n")
    ended = corral("wait", "1", "--timeout", "50ms")
    assert ended.returncode == 124
    assert len(ended.stderr.splitlines()) == 1
    assert _job(corral, "1")["state"] == "running"


def test_restart_prints_the_new_id(corral: Corral) -> None:
    corral.ok("run", "-n", "once", "-e", "K=kept", "--shell", "echo $K")
    corral("wait", "once")
    assert corral.ok("restart", "once") == "2"
    assert corral("wait", "2").returncode == 0
    assert corral.ok("logs", "2") == "kept"
    assert _job(corral, "2")["restarted_from"] == "1"
    corral.ok("run", "-q", "sleep", "100")
    assert corral.ok("restart", "3") == "4"
    assert _job(corral, "3")["state"] == "stopped"
    corral("run", "--wait", "--stdin", "-", "cat", input="x")
    ended = corral("restart", "5")
    assert ended.returncode == 1
    assert "--stdin FILE" in ended.stderr


def test_restart_of_what_cannot_start_says_so_as_run_does(corral: Corral) -> None:
    said = corral("run", "no-such-program").stderr
    ended = corral("restart", "1")
    assert (ended.returncode, ended.stdout) == (127, "2\n")
    assert ended.stderr == said.replace("corral: ", "corral: restart: 2: ", 1)


def test_rm_deletes_what_has_ended(corral: Corral) -> None:
    corral.ok("run", "-q", "sleep", "100")
    corral("run", "--wait", "echo", "x")
    ended = corral("rm", "1", "2")
    assert ended.returncode == 1
    assert "--force" in ended.stderr
    assert corral.ok("ps", "-a", "-q") == "1"
    assert not (corral.home / "jobs" / "2").exists()
    corral.ok("rm", "--force", "1")
    assert corral.ok("ps", "-a", "-q") == ""
    assert corral.ok("run", "true") == "3"


# ---- send, show, why, peek


def test_send_and_its_end(served: Corral) -> None:
    served.ok("run", "-i", "-n", "sum", "sha256sum")
    served.ok("send", "-n", "sum", "a")
    served.ok("send", "sum", "b")
    served.ok("send", "sum", "-", input="c" * 1_000_000)
    served.ok("send", "--eof", "sum")
    assert served("wait", "sum").returncode == 0
    digest = hashlib.sha256(b"ab\n" + b"c" * 1_000_000).hexdigest()
    assert served.ok("logs", "sum").startswith(digest)
    ended = served("send", "sum", "late")
    assert ended.returncode == 1


@pytest.mark.parametrize(
    ("options", "line", "is_said"),
    [
        ((), "python3 -c 'import sys; print(1); sys.stdin.read()' | cat", True),
        (("--shell",), "python3 -c 'import sys; print(1); sys.stdin.read()'; true", True),
        ((), "python3 -u -c 'import sys; sys.stdin.read()' | cat", False),
        (("-e", "PYTHONUNBUFFERED=1"), "python3 -c 'import sys; sys.stdin.read()'", False),
        ((), "python3 -c 'import sys; print(1, flush=True); sys.stdin.read()'", False),
        ((), "cat", False),
    ],
)
def test_that_python_keeps_back_what_it_prints_is_said(
    options: tuple[str, ...], line: str, is_said: bool, shared: Corral
) -> None:
    job = shared.ok("run", "-i", *options, line, env={"PYTHONUNBUFFERED": ""})
    until(lambda: "waits for input" in shared.ok("why", job), "it to wait for input")
    assert ("PYTHONUNBUFFERED=1 …" in shared.ok("why", job)) is is_said


def test_send_to_a_job_without_an_open_stdin(served: Corral) -> None:
    served.ok("run", "-n", "nap", "sleep", "100")
    ended = served("send", "nap", "x")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "-i" in line


def test_show_why_and_peek_of_a_pipeline(corral: Corral) -> None:
    corral.ok("run", "-n", "pair", "sleep 100 | cat")
    shown = corral.ok("show", "pair")
    for expected in ("pair", "STAGES", "sleep", "cat", "EVENTS", "started"):
        assert expected in shown
    detail = json.loads(corral.ok("show", "--json", "pair"))
    assert [stage["name"] for stage in detail["stages"]] == ["sleep", "cat"]
    assert {"waiting_for", "pipes", "after", "leftovers", "events"} <= detail.keys()
    assert corral.ok("peek", "pair").splitlines()[1].split()[:4] == ["1", "1", "2", "0"]
    assert corral("peek", "pair", "2").returncode == 1
    why = json.loads(corral.ok("why", "pair", "--json"))
    assert why["id"] == "1"
    assert why["summary"]
    assert corral.ok("why").splitlines()[0].startswith("1: ")


def test_colour_only_where_it_is_wanted(corral: Corral) -> None:
    corral.ok("run", "-n", "nap", "sleep", "100")
    assert "\x1b" not in corral.ok("show", "nap")
    assert "\x1b[1m" in corral.ok("show", "nap", env={"FORCE_COLOR": "1"})
    assert "\x1b" not in corral.ok("why", "nap", env={"NO_COLOR": "1"})
