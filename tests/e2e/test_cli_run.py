"""`corral run` for real: output byte for byte, exit statuses, interruptions, surroundings, stdin."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from e2e.command import Corral, read_all
from until import until


def _python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", code]


def _status(corral: Corral, job: str = "@") -> dict[str, Any]:
    (found,) = json.loads(corral.ok("ps", "--json", job))
    assert isinstance(found, dict)
    return found


def test_the_id_alone_and_the_job_goes_on(corral: Corral) -> None:
    assert corral.ok("run", "--name", "nap", "sleep", "100") == "1"
    assert _status(corral, "nap")["state"] == "running"
    assert corral.ok("run", "-q", "true") == ""


def test_json_of_a_started_job(corral: Corral) -> None:
    job = json.loads(corral.ok("run", "--json", "-n", "nap", "--timeout", "1h", "sleep", "100"))
    assert (job["id"], job["name"], job["state"], job["timeout"]) == ("1", "nap", "running", 3600.0)
    assert (job["origin"], job["parent"]) == ("command_line", None)


def test_wait_copies_both_streams_byte_for_byte(served: Corral) -> None:
    code = "import sys; sys.stdout.buffer.write(bytes(range(256)) * 4000); sys.stderr.buffer.write(b'\\xff\\0err')"
    ended = served("run", "--wait", *_python(code), text=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, bytes(range(256)) * 4000, b"\xff\0err")


def test_a_pipeline_without_a_shell(served: Corral) -> None:
    assert served.ok("run", "--wait", "printf 'b\\na\\n' | sort | tr a-z A-Z") == "A\nB"
    assert served.ok("run", "--wait", "yes | head -n 1") == "y"
    assert served.ok("run", "--wait", "--", "printf", "a | b") == "a | b"


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["--shell", "exit 3"], 3),
        (["sh", "-c", "kill -SEGV $$"], 139),
        (["--timeout", "100ms", "--grace", "1s", "sleep", "10"], 124),
        (["false"], 1),
        (["no-such-program"], 127),
        (["/etc/hostname"], 126),
        (["true | no-such-program"], 127),
        (["-C", "/no/such/directory", "true"], 125),
        (["cat < /no/such/file"], 125),
        (["--stdin", "/no/such/file", "cat"], 125),
        (["--after", "99", "true"], 125),
        (["--from", "99", "cat"], 125),
    ],
)
def test_exit_statuses(words: list[str], status: int, shared: Corral) -> None:
    ended = shared("run", "--wait", *words)
    assert (ended.returncode, ended.stdout) == (status, "")
    if status in (125, 126, 127):
        assert len(ended.stderr.splitlines()) == 1
        assert ended.stderr.startswith("corral: ")


def test_what_cannot_start_prints_no_id_but_is_in_the_list(corral: Corral) -> None:
    ended = corral("run", "sort | no-such-program | cat")
    assert (ended.returncode, ended.stdout) == (127, "")
    assert "stage 2" in ended.stderr
    assert "no-such-program" in ended.stderr
    (job,) = json.loads(corral.ok("ps", "-a", "--json"))
    assert (job["state"], job["exit_status"]) == ("failed", 127)
    ended = corral("run", "--json", "no-such-program")
    assert json.loads(ended.stdout)["state"] == "failed"


def test_json_with_wait_copies_nothing_and_prints_the_end(served: Corral) -> None:
    ended = served("run", "--wait", "--json", "--shell", "echo out; exit 4")
    job = json.loads(ended.stdout)
    assert (ended.returncode, job["state"], job["exit_status"]) == (4, "failed", 4)


def test_surroundings_are_the_clients(corral: Corral) -> None:
    below = corral.directory / "below"
    below.mkdir()
    code = (
        "import json, os, resource as r; u = os.umask(0);"
        "print(json.dumps([os.getcwd(), oct(u), r.getrlimit(r.RLIMIT_NOFILE)[0], os.getpriority(0, 0),"
        " os.environ['K'], os.environ['CORRAL_JOB_ID'], os.environ['CORRAL_STAGE'], os.environ['CORRAL_HOME']]))"
    )

    def before() -> None:
        import resource

        os.umask(0o027)
        os.nice(3)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (99, hard))

    corral.ok("run", "-q", "true")  # The daemon runs already, with surroundings of its own.
    niceness = min(19, os.getpriority(os.PRIO_PROCESS, 0) + 3)
    out = corral.ok("run", "-w", "-C", "below", "-e", "K=v=w", *_python(code), preexec_fn=before)
    assert json.loads(out) == [str(below), "0o27", 99, niceness, "v=w", "2", "1", str(corral.home)]


def test_a_secret_shows_nowhere(corral: Corral) -> None:
    (corral.directory / "env").write_text("TOKEN=s3cret-token\n")
    corral.ok("run", "-e", "PASSWORD=s3cret-password", "--env-file", "env", "-n", "x", "sleep", "100")
    shown = corral.ok("show", "x") + corral.ok("show", "--json", "x") + corral.ok("ps", "--json")
    shown += corral.ok("why", "x") + corral.ok("daemon", "log")
    assert "s3cret" not in shown


def test_stdin_from_nowhere_a_file_and_ourselves(served: Corral) -> None:
    (served.directory / "in").write_text("from a file\n")
    assert served.ok("run", "-w", "cat") == ""
    assert served.ok("run", "-w", "--stdin", "in", "cat") == "from a file"
    assert served.ok("run", "-w", "cat < in") == "from a file"
    assert served.ok("run", "-w", "--stdin", "-", "cat", input="from us\n") == "from us"


def test_a_terminal_is_no_stdin(served: Corral) -> None:
    leader, follower = pty.openpty()
    try:
        ended = served("run", "--stdin", "-", "cat", stdin=follower)
    finally:
        os.close(leader)
        os.close(follower)
    assert ended.returncode == 125
    assert "terminal" in ended.stderr


def test_one_job_feeds_another(served: Corral) -> None:
    served.ok("run", "-n", "source", "printf 'c\\nb\\na\\n'")
    assert served.ok("run", "-w", "--from", "source", "sort") == "a\nb\nc"


def test_after_a_job_that_fails_nothing_starts(corral: Corral) -> None:
    corral.ok("run", "-i", "-n", "first", "sh", "-c", "read line; exit 1")
    assert corral.ok("run", "--after", "first", "-n", "second", "echo", "never") == "2"
    assert _status(corral, "second")["state"] == "queued"
    corral.ok("send", "first", "go")
    ended = corral("wait", "second")
    assert ended.returncode == 125
    second = _status(corral, "second")
    assert (second["state"], second["started"]) == ("failed", None)
    assert "job 1" in second["reason"]


def _marked(corral: Corral, *command: str) -> tuple[subprocess.Popen[bytes], Path]:
    """`corral run --wait` of a command that has written `ready`, seen here."""
    jobs = corral.home / "jobs"
    before = set(jobs.glob("*"))
    process = corral.start("run", "--wait", *command)
    (job,) = until(lambda: set(jobs.glob("*")) - before, "the job to begin")
    out = job / "stdout"
    until(lambda: out.exists() and b"ready" in out.read_bytes(), "the job to be ready")
    return process, out


def test_ctrl_c_is_int_first_and_130(served: Corral) -> None:
    code = (
        "import signal, sys, time\n"
        "def bye(*_): print('got INT', flush=True); sys.exit(0)\n"
        "signal.signal(signal.SIGINT, bye); signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('ready', flush=True)\nwhile True: time.sleep(100)\n"
    )
    process, _ = _marked(served, *_python(code))
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    assert read_all(process.stdout) == b"ready\ngot INT\n"
    assert read_all(process.stderr) == b""
    job = _status(served)
    assert (job["state"], job["exit_status"]) == ("stopped", 0)
    assert "Ctrl-C" in job["reason"]


def test_ctrl_c_again_skips_the_grace(served: Corral) -> None:
    code = (
        "import signal, time\n"
        "signal.signal(signal.SIGINT, lambda *_: print('stubborn', flush=True))\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('ready', flush=True)\nwhile True: time.sleep(100)\n"
    )
    process, out = _marked(served, "--grace", "1h", *_python(code))
    process.send_signal(signal.SIGINT)
    until(lambda: b"stubborn" in out.read_bytes(), "the job to refuse")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    read_all(process.stdout)
    read_all(process.stderr)
    assert _status(served)["signal"] == "KILL"


def test_term_is_the_stop_sequence_and_143(served: Corral) -> None:
    process, _ = _marked(served, "--shell", "echo ready; sleep 100")
    process.terminate()
    assert process.wait(timeout=30) == 143
    read_all(process.stdout)
    read_all(process.stderr)
    assert _status(served)["state"] == "stopped"


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL])
def test_a_client_that_is_lost_leaves_the_job(number: signal.Signals, served: Corral) -> None:
    process, _ = _marked(served, "-i", "sh", "-c", "echo ready; read line; exit 7")
    process.send_signal(number)
    assert process.wait(timeout=30) == -number
    read_all(process.stdout)
    read_all(process.stderr)
    assert _status(served)["state"] == "running"
    served.ok("send", "@", "go")
    assert served("wait", "@").returncode == 7


@pytest.mark.parametrize("command", ["yes", "echo one; sleep 100"])
def test_a_closed_stdout_stops_the_job(command: str, served: Corral) -> None:
    process = served.start("run", "--wait", "--shell", command)
    assert process.stdout is not None
    assert process.stdout.read(1)
    process.stdout.close()
    assert process.wait(timeout=30) == 141
    assert read_all(process.stderr) == b""
    assert _status(served)["state"] == "stopped"


def test_a_slow_reader_gets_every_byte(served: Corral) -> None:
    code = "import sys\nfor n in range(200000): sys.stdout.write(f'{n}\\n')"
    process = served.start("run", "--wait", *_python(code))
    assert process.stdout is not None
    first = process.stdout.read(10)
    until(lambda: _status(served)["state"] == "succeeded", "the job to end while nobody reads")
    everything = first + read_all(process.stdout)
    assert process.wait(timeout=30) == 0
    read_all(process.stderr)
    assert everything == b"".join(b"%d\n" % number for number in range(200000))


def test_a_job_within_a_job_knows_its_parent(corral: Corral) -> None:
    corral.ok("run", "--wait", *corral.argv, "run", "sleep", "100")
    assert _status(corral, "2")["parent"] == "1"
