"""Command lines as long as the kernel takes start as they do from a shell; what is longer is refused before anything starts."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from e2e.command import Corral

NAMES = tuple(f"a-rather-long-file-name-{number:05d}-é.txt" for number in range(14_705))
"""500 kB of them."""
LONGEST_ARGUMENT = 32 * os.sysconf("SC_PAGESIZE") - 1


def job_of(corral: Corral, *words: str) -> dict[str, Any]:
    found = json.loads(corral.ok(*words))
    return dict(found[0] if isinstance(found, list) else found)


def argv_of(job: dict[str, Any]) -> list[str]:
    return list(job["stages"][0]["argv"])


def test_many_file_names(corral: Corral) -> None:
    """As `ls $(cat names)`; a queued one outlives a restart of the daemon in between."""
    printf = ("printf", "%s\\n", *NAMES)
    assert corral.ok("run", "--wait", "--quiet", "--", *printf).splitlines() == list(NAMES)
    shown = job_of(corral, "show", "--json", "1")
    assert (tuple(argv_of(shown)), shown["cut"]) == (printf, False)
    assert shown["command"].endswith(f" {NAMES[-1]}")
    listed = job_of(corral, "ps", "-a", "--json", "1")
    assert (listed["cut"], argv_of(listed)[:3]) == (True, ["printf", "%s\\n", NAMES[0]])
    assert len(corral.ok("ps", "-a")) < 50_000
    blocker = corral.ok("run", "--", "sleep", "60")
    queued = corral.ok("run", "--after", blocker, "--", *printf)
    corral.ok("daemon", "restart")
    assert tuple(argv_of(job_of(corral, "show", "--json", queued))) == printf
    corral.ok("signal", "KILL", blocker)
    assert corral("wait", queued).returncode == 125
    again = corral.ok("restart", queued)
    corral.ok("wait", again)
    assert corral.ok("logs", again).splitlines() == list(NAMES)
    corral.ok("daemon", "stop")
    assert tuple(argv_of(job_of(corral, "show", "--json", again))) == printf


def test_the_longest_argument_and_a_long_script(corral: Corral) -> None:
    longest = "y" * LONGEST_ARGUMENT
    assert corral.ok("run", "--wait", "--quiet", "--", "printf", "%s", longest) == longest
    script = f"printf %s '{'x' * (LONGEST_ARGUMENT - 12)}'"
    assert len(script) == LONGEST_ARGUMENT
    assert corral.ok("run", "--wait", "--quiet", "--shell", script) == "x" * (LONGEST_ARGUMENT - 12)
    assert argv_of(job_of(corral, "show", "--json", "2"))[2] == script


def test_bytes_that_json_writes_six_times_as_long(corral: Corral) -> None:
    words = ["\x01" * 100_000] * 15
    assert corral.ok("run", "--wait", "--quiet", "--", "sh", "-c", "echo $#", "sh", *words) == "15"


def test_a_large_environment(corral: Corral, tmp_path: Path) -> None:
    file = tmp_path / "environment"
    file.write_text("".join(f"LARGE{number}={'z' * 100_000}\n" for number in range(15)))
    count = ("sh", "-c", "env | grep -c ^LARGE")
    assert corral.ok("run", "--wait", "--quiet", "--env-file", str(file), "--", *count) == "15"


@pytest.mark.parametrize(
    ("line", "count", "words"),
    [
        ("LARGE{}=" + "z" * 100_000, 25, ["arguments and environment take 2,5", "at most 2,097,152"]),
        ("LARGE{}=" + "z" * 140_000, 1, ["the variable LARGE0 has 140,000 bytes", "at most 131,06"]),
    ],
    ids=["in all", "in one"],
)
def test_what_is_too_much_is_refused_with_its_limit(
    corral: Corral, tmp_path: Path, line: str, count: int, words: list[str]
) -> None:
    file, target = tmp_path / "environment", tmp_path / "target"
    file.write_text("".join(line.format(number) + "\n" for number in range(count)))
    target.write_text("kept")
    ended = corral("run", "--env-file", str(file), f"echo a | cat > {target}")
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (126, "", 1)
    assert all(one in ended.stderr for one in words), ended.stderr
    assert target.read_text() == "kept"
    assert job_of(corral, "ps", "-a", "--json")["exit_status"] == 126
