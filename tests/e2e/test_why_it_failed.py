"""`corral why` of a job that failed: its last words, its signal, the kernel's log, and what its last good run had."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from e2e.command import Corral
from until import until

OWN_SIGNAL = "import os, resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); os.kill(os.getpid(), {})"
TWICE = 'test "$FAILS" || exit 0; echo first >&2; echo no such thing >&2; exit 3'
MEMORY = Path("/sys/fs/cgroup/memory")


def why(corral: Corral, job: str = "@") -> dict[str, Any]:
    return dict(json.loads(corral.ok("why", "--json", job)))


FAILURES: tuple[tuple[tuple[str, ...], str, list[str]], ...] = (
    (
        ("ls /no/such/place | wc",),
        "stage 1 (ls) exited with 2; it said: ls: cannot access '/no/such/place': No such file or directory",
        [],
    ),
    (
        ("--", sys.executable, "-c", OWN_SIGNAL.format(11)),
        "was ended by SIGSEGV",
        ["SIGSEGV: it used memory that is not its own, a bug in the program"],
    ),
    (
        ("--", sys.executable, "-c", OWN_SIGNAL.format(10)),
        "was ended by SIGUSR1",
        ["SIGUSR1: Corral did not send it, and the kernel does not tell who did"],
    ),
    (
        ("--shell", "printf 'a\\rlast\\033[31m words\\n\\n' >&2; exit 130"),
        "exited with 130; it said: last words",
        ["exit status 130: in a shell it means that a program was ended by signal 2"],
    ),
    (("--pty", "--", "sh", "-c", "echo on the terminal; exit 4"), "it said: on the terminal", []),
    (("no-such-program",), "it failed: stage 1: no such program: no-such-program", []),
    (("--timeout", "100ms", "sleep", "60"), "it ran into its time limit: 0.1s", []),
    (
        ("--timeout", "100ms", "--stop-signal", "INT", "sleep", "60"),
        "it ran into its time limit: 0.1s",
        [],
    ),
    (
        ("--timeout", "100ms", "--grace", "100ms", "--shell", "trap '' TERM; while :; do sleep 1; done"),
        "it ran into its time limit: 0.1s",
        [],
    ),
)


def test_the_first_line_tells_with_and_without_a_daemon(corral: Corral) -> None:
    told = []
    for words, summary, evidence in FAILURES:
        corral("run", "--wait", *words)
        told.append(why(corral))
        assert summary in told[-1]["summary"]
        assert told[-1]["evidence"] == evidence
    corral.ok("daemon", "stop")
    assert [why(corral, found["id"]) for found in told] == told


def test_what_was_different_from_its_last_good_run(corral: Corral, tmp_path: Path) -> None:
    environment = {"SECRET": "hunter2", "GOES": "1"}
    corral.ok("run", "--wait", "-C", str(tmp_path), "--shell", TWICE, env=environment)
    environment = {"SECRET": "hunter3", "FAILS": "1"}
    assert corral("run", "--wait", "--shell", TWICE, env=environment).returncode == 3
    found = why(corral)
    assert found["summary"].endswith("exited with 3; it said: no such thing")
    said, lasted, where, *variables = (found["evidence"][0:2], *found["evidence"][2:])
    assert said == ["it said: first", "it said: no such thing"]
    assert lasted.startswith("the last good run, job 1, took ")
    assert where == f"it ran in {tmp_path} then, and in {corral.directory} now"
    assert variables == [
        "variables changed since: SECRET",
        "variables new since: FAILS",
        "variables gone since: GOES",
    ]
    assert "hunter" not in corral.ok("why", "2")
    assert why(corral, "1")["evidence"] == []


def test_what_somebody_stopped_is_no_failure(corral: Corral) -> None:
    corral.ok("run", "--shell", "echo words >&2; exec sleep 60")
    until(lambda: "words" in corral("logs").stderr, "it to print")
    corral.ok("stop", "1")
    assert why(corral)["evidence"] == []


@pytest.mark.skipif(
    not os.access(MEMORY / "cgroup.procs", os.W_OK) or not os.access("/dev/kmsg", os.R_OK),
    reason="no memory group or kernel log to be had",
)
def test_out_of_memory_is_told_by_the_kernels_log(corral: Corral) -> None:
    group = MEMORY / f"corral-test-{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(40 << 20))
        into = f"echo $$ > {group}/cgroup.procs"
        corral("run", "--wait", "--shell", f"{into}; exec {sys.executable} -S -c 'bytearray(200 << 20)'")
        found = why(corral)
        assert found["summary"].endswith(
            "was ended by SIGKILL: out of memory, the kernel's log says that it killed it"
        )
        until(lambda: not (group / "cgroup.procs").read_text(), "the group to be empty")
    finally:
        group.rmdir()
