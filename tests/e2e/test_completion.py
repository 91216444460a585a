"""The scripts in the shells that they are for: what a tab makes of a line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.command import Corral
from e2e.terminal import Terminal

_BASH = """
source <(corral completion bash)
compopt() { :; }  # there is only one while a key completes
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_corral_completion "$1"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def path(corral: Corral, tmp_path: Path) -> str:
    """A PATH with `corral` on it, and with a job that runs and one that has ended."""
    program = tmp_path / "bin" / "corral"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m corral_tui.main "$@"\n')
    program.chmod(0o755)
    corral.ok("run", "-n", "nap", "sleep", "60")
    corral.ok("run", "--wait", "--quiet", "true")
    (corral.directory / "data.txt").touch()
    return f"{program.parent}:{os.environ['PATH']}"


def _needs(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"{shell} is not installed")


def _run(corral: Corral, path: str, argv: list[str]) -> list[str]:
    done = subprocess.run(
        argv,
        env=corral.environment | {"PATH": path},
        cwd=corral.directory,
        capture_output=True,
        text=True,
        timeout=30,
        stdin=subprocess.DEVNULL,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_bash(corral: Corral, path: str) -> None:
    def offered(*words: str) -> list[str]:
        return _run(corral, path, ["bash", "-c", _BASH, "bash", *words])

    assert offered("corral", "stop", "") == ["1", "nap"]
    assert offered("corral", "ps", "--state", "=", "q") == ["queued"]
    assert offered("corral", "comp") == ["completion"]


@_needs("fish")
def test_fish(corral: Corral, path: str) -> None:
    def offered(line: str) -> list[str]:
        return _run(
            corral,
            path,
            ["fish", "--no-config", "-c", f"corral completion fish | source; complete -C '{line}'"],
        )

    assert offered("corral stop ") == ["1\trunning: sleep 60", "nap\tjob 1, running"]
    assert offered("corral ps --state=q") == ["--state=queued"]
    assert offered("corral sto") == ["stop\tEnd jobs and everything that they started."]
    assert offered("corral run --stdin=da") == ["--stdin=data.txt"]
    assert offered("corral run cat da") == ["data.txt"]


@_needs("zsh")
def test_zsh(corral: Corral, path: str) -> None:
    with Terminal(
        [shutil.which("zsh") or "", "-f", "-i"],
        environment=corral.environment | {"PATH": path, "PS1": "> ", "HOME": os.fspath(corral.directory)},
        columns=100,
        rows=24,
        cwd=corral.directory,
    ) as shell:
        shell.wait_for(">")
        shell.press("autoload -Uz compinit; compinit -u -D; source <(corral completion zsh); echo re''ady\r")
        shell.wait_for("ready")
        for line, wanted in (
            ("corral stop \t", "running: sleep 60"),
            ("corral ps --state=q\t", "--state=queued"),
            ("corral run --stdin=da\t", "--stdin=data.txt"),
        ):
            shell.press(f"\x15{line}")  # ctrl+u: whatever stands there goes
            shell.wait_for(wanted)
