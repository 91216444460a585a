"""`corral each` for real: its inputs, what it copies and when, its exit statuses, interruptions, other daemons."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from e2e.command import Corral, read_all
from e2e.terminal import Terminal
from until import until

_WAITS = "while ! test -e go.{}; do sleep 0.02; done"
"""As a part of a line for sh: until the file of that name is there."""


def _batch(corral: Corral, reference: str = "@") -> dict[str, Any]:
    found, *_ = json.loads(corral.ok("ps", "-a", "--json", reference))
    assert isinstance(found, dict)
    return found


def _has(corral: Corral, name: str, **counts: int | None) -> bool:
    """Whether there is a batch of that name, and so many of its jobs are in these states."""
    found = json.loads(corral("ps", "-a", "--json", name).stdout)
    return bool(found) and counts.items() <= found[0]["batch_progress"].items()


def _go(corral: Corral, *names: str) -> None:
    for name in names:
        (corral.directory / f"go.{name}").touch()


@pytest.fixture(autouse=True)
def _nothing_may_go(request: pytest.FixtureRequest) -> None:
    if "served" in request.fixturenames:
        for path in request.getfixturevalue("served").directory.glob("go.*"):
            path.unlink()


def test_the_id_at_once_and_the_inputs_to_their_end(served: Corral) -> None:
    process = served.start("each", "-n", "lines", "echo", stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    number = process.stdout.readline().strip().decode()
    assert number.isdecimal()
    process.stdin.write(b"first\n")
    process.stdin.flush()
    until(lambda: _has(served, "lines", succeeded=1, total=None), "the first job to end")
    process.stdin.write(b"second")
    process.stdin.close()
    assert process.wait(timeout=30) == 0
    assert (read_all(process.stdout), read_all(process.stderr)) == (b"", b"")
    assert served("wait", "lines").returncode == 0
    progress = _batch(served, number)["batch_progress"]
    assert (progress["total"], progress["succeeded"]) == (2, 2)


def test_an_input_is_that_and_nothing_else(served: Corral) -> None:
    odd = ["; rm -rf x", "$(x)", "*", "-n", "--", "a b\nc", "'", '"', "`id`", "", "{}"]
    for words in (["printf", "<%s>"], ["--shell", "printf '<%s>' {}"], ["printf '<%s>' {} | cat"]):
        assert served.ok("each", "-w", "-k", *words, ":::", *odd) == "".join(f"<{text}>" for text in odd)
    raw = b"\xff \xc3\xa4\0"
    ended = served("each", "-w", "-0", "printf", "%s", input=raw, text=False)
    assert ended.stdout == raw[:-1]


def test_many_inputs(served: Corral, tmp_path: Path) -> None:
    lines = "".join(f"{number}\n" for number in range(300))
    assert served("each", "-w", "-k", "-j8", "echo", input=lines).stdout == lines
    (tmp_path / "lines").write_text(lines)
    out = served.ok("each", "-w", "-N100", "-a", str(tmp_path / "lines"), "--shell", "echo {} | wc -w")
    assert out.split() == ["100"] * 3


def test_exact_thousands_of_inputs_have_an_end(served: Corral) -> None:
    lines = "".join(f"{number}\n" for number in range(1000))
    assert served("each", "-w", "-N500", "-k", "echo {1}", input=lines).stdout == "0\n500\n"
    assert served("each", "-n", "thousand", "sleep 100 {#}", input=lines).returncode == 0
    assert _batch(served, "thousand")["batch_progress"]["total"] == 1000


def test_outputs_whole_as_jobs_end(served: Corral) -> None:
    line = f"i={{}}; echo begin $i; echo err $i >&2; {_WAITS}; echo end $i"
    process = served.start("each", "-w", "-j2", "--shell", line, ":::", "1", "2")
    _go(served, "2")
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == [b"begin 2\n", b"end 2\n"]
    _go(served, "1")
    assert read_all(process.stdout) == b"begin 1\nend 1\n"
    assert read_all(process.stderr) == b"err 2\nerr 1\n"
    assert process.wait(timeout=30) == 0


def test_in_the_order_of_the_inputs(served: Corral) -> None:
    line = f"{_WAITS}; echo {{}}"
    process = served.start("each", "-n", "order", "-w", "-k", "-j3", "--shell", line, ":::", "1", "2", "3")
    _go(served, "3", "2")
    until(lambda: _has(served, "order", succeeded=2), "two jobs to end")
    _go(served, "1")
    assert read_all(process.stdout) == b"1\n2\n3\n"
    assert process.wait(timeout=30) == 0
    read_all(process.stderr)


def test_lines_as_they_are_written(served: Corral) -> None:
    line = f"i={{}}; echo begin $i; printf 'un'; {_WAITS}; echo finished"
    process = served.start("each", "-w", "-j2", "--line-buffer", "--tag", "--shell", line, ":::", "1", "2")
    assert process.stdout is not None
    begun = {process.stdout.readline() for _ in range(2)}
    assert begun == {b"1\tbegin 1\n", b"2\tbegin 2\n"}
    _go(served, "2")
    assert process.stdout.readline() == b"2\tunfinished\n"
    _go(served, "1")
    assert read_all(process.stdout) == b"1\tunfinished\n"
    assert process.wait(timeout=30) == 0
    read_all(process.stderr)


def test_lines_in_order(served: Corral) -> None:
    line = f"i={{}}; echo begin $i; {_WAITS}; echo end $i"
    process = served.start(
        "each", "-n", "inorder", "-w", "-k", "-j2", "--line-buffer", "--shell", line, ":::", "1", "2"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"begin 1\n"
    _go(served, "2")
    until(lambda: _has(served, "inorder", succeeded=1), "the second job to end")
    _go(served, "1")
    assert read_all(process.stdout) == b"end 1\nbegin 2\nend 2\n"
    assert process.wait(timeout=30) == 0
    read_all(process.stderr)


def test_only_the_last_attempt_is_copied(served: Corral) -> None:
    line = "i={}; echo try $i; test -e tried.$i || { touch tried.$i; exit 1; }"
    for number, more in enumerate(([], ["--line-buffer"])):
        words = ("each", "-w", "--retries", "1", "--retry-delay", "10ms", *more, "--shell", line)
        assert served.ok(*words, ":::", f"n{number}") == f"try n{number}"


def test_large_outputs_byte_for_byte(served: Corral) -> None:
    line = "i={}; head -c 300000 /dev/zero | tr '\\0' $i; head -c 10000 /dev/zero | tr '\\0' $i >&2"
    ended = served("each", "-w", "-k", "-j2", "--shell", line, ":::", "a", "b")
    assert (ended.returncode, ended.stdout) == (0, "a" * 300000 + "b" * 300000)
    assert sorted(ended.stderr) == ["a"] * 10000 + ["b"] * 10000


@pytest.mark.parametrize(
    ("words", "inputs", "status"),
    [
        (["true"], ["1", "2"], 0),
        (["false"], ["1", "2", "3"], 3),
        (["sh", "-c", "exit {}"], ["0", "7", "0"], 1),
        (["no-such-program"], ["1"], 127),
        (["/"], ["1"], 126),
        (["true | no-such-program {}"], ["1"], 127),
        (["-C", "/no/such/directory", "true"], ["1"], 125),
        (["--after", "99", "true"], ["1"], 125),
        (["true"], [], 0),
    ],
)
def test_exit_statuses(words: list[str], inputs: list[str], status: int, shared: Corral) -> None:
    ended = shared("each", "-w", *words, ":::", *inputs)
    assert (ended.returncode, ended.stdout) == (status, "")
    if status in (125, 126, 127) or not inputs:
        assert len(ended.stderr.splitlines()) == 1
        assert ended.stderr.startswith("corral: ")


def test_json_with_wait_copies_nothing_and_prints_the_end(served: Corral) -> None:
    ended = served("each", "-w", "--json", "--shell", "echo out; exit {}", ":::", "0", "4")
    batch = json.loads(ended.stdout)
    assert (ended.returncode, batch["kind"], batch["state"], batch["exit_status"]) == (
        1,
        "batch",
        "failed",
        1,
    )


def test_what_has_succeeded_is_left_out(served: Corral) -> None:
    words = ("each", "-w", "--shell", "test {} != 2")
    assert served(*words, ":::", "1", "2", "3").returncode == 1
    ended = served(*words[:2], "--resume", *words[2:], ":::", "1", "2", "3", "4")
    assert ended.returncode == 1
    assert ended.stderr.startswith("corral: 2 inputs have succeeded before")
    assert _batch(served)["batch_progress"]["total"] == 2


def test_ctrl_c_stops_the_batch(served: Corral) -> None:
    process = served.start(
        "each", "-n", "ctrlc", "-w", "-j2", "--shell", "echo {}; sleep 100", ":::", "1", "2", "3"
    )
    until(lambda: _has(served, "ctrlc", running=2), "two jobs to run")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    assert sorted(read_all(process.stdout).split()) == [b"1", b"2"]
    read_all(process.stderr)
    batch = _batch(served)
    assert (batch["state"], batch["exit_status"]) == ("stopped", 130)
    assert "Ctrl-C" in batch["reason"]
    assert (batch["batch_progress"]["stopped"], batch["batch_progress"]["skipped"]) == (2, 1)


def test_term_is_143(served: Corral) -> None:
    process = served.start("each", "-n", "term", "-w", "sleep", ":::", "100")
    until(lambda: _has(served, "term", running=1), "the job to run")
    process.terminate()
    assert process.wait(timeout=30) == 143
    read_all(process.stdout)
    read_all(process.stderr)
    assert _batch(served)["state"] == "stopped"


def test_a_closed_stdout_stops_the_batch(served: Corral) -> None:
    process = served.start("each", "-w", "-j1", "--shell", "echo {}; sleep 0.{}", ":::", *map(str, range(99)))
    assert process.stdout is not None
    assert process.stdout.readline() == b"0\n"
    process.stdout.close()
    assert process.wait(timeout=30) == 141
    assert read_all(process.stderr) == b""
    assert _batch(served)["state"] == "stopped"


def test_without_wait_a_closed_stdout_loses_no_input(served: Corral) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = served.start("each", "-n", "deaf", "true", ":::", "1", "2", stdout=writer)
    os.close(writer)
    assert process.wait(timeout=30) == 141
    assert read_all(process.stderr) == b""
    assert served("wait", "deaf").returncode == 0
    assert _batch(served, "deaf")["batch_progress"]["succeeded"] == 2


def test_a_client_that_dies_leaves_what_came(served: Corral) -> None:
    process = served.start("each", "-n", "cut", "true", stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(b"1\n2\nhalf")
    process.stdin.flush()
    until(lambda: _has(served, "cut", succeeded=2), "both jobs to end")
    process.kill()
    process.wait(timeout=30)
    for stream in (process.stdin, process.stdout, process.stderr):
        assert stream is not None
        stream.close()
    assert served("wait", "cut").returncode == 0
    batch = _batch(served, "cut")
    assert (batch["reason"], batch["batch_progress"]["total"]) == ("its input ended early", 2)


@pytest.mark.parametrize("way", ["restart", "kill"])
def test_another_daemon_meanwhile(way: str, corral: Corral) -> None:
    process = corral.start(
        "each", "-n", "over", "-w", "-k", "-j2", "--shell", f"{_WAITS}; echo {{}}", stdin=subprocess.PIPE
    )
    assert process.stdin is not None
    process.stdin.write(b"1\n2\n3\n")
    process.stdin.flush()
    until(lambda: _has(corral, "over", running=2), "two jobs to run")
    if way == "restart":
        corral("daemon", "restart")
    else:
        os.kill(json.loads(corral.ok("daemon", "status", "--json"))["pid"], signal.SIGKILL)
    process.stdin.write(b"4\n5\n")
    process.stdin.close()
    _go(corral, *"12345")
    assert read_all(process.stdout) == b"1\n2\n3\n4\n5\n"
    assert process.wait(timeout=30) == 0
    read_all(process.stderr)


def test_the_line_of_progress_stands_below_the_output(served: Corral) -> None:
    line = f"i={{}}; echo out $i; echo err $i >&2; {_WAITS}; test $i != 2"
    argv = [*served.argv, "each", "-w", "-k", "-j2", "--shell", line, ":::", "1", "2", "3"]
    with Terminal(
        argv, environment=served.environment, columns=60, rows=12, cwd=served.directory
    ) as terminal:
        terminal.wait_for("0/3, 2 run")
        _go(served, "1")
        terminal.wait_for("1/3, 2 run")
        assert terminal.lines()[1:3] == ["out 1", "err 1"]
        _go(served, "2", "3")
        terminal.wait_for("1 of 3 failed")
        assert terminal.wait_for_end() == 1
        lines = [line for line in terminal.lines() if line]
        assert lines[1:7] == ["out 1", "err 1", "out 2", "err 2", "out 3", "err 3"]
        assert lines[7].startswith("corral: batch ")
        assert len(lines) == 8
