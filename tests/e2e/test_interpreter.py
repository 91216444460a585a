"""Which Python runs the daemon, and what is said where there is none: embedded, frozen, or of another name."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import forkserver
from e2e.command import Corral

PROGRAM = """
import asyncio, sys
import corral
exec(sys.argv[1])
async def main():
    async with corral.open() as manager:
        print((await manager.run(["echo", "hello"])).stdout.decode().strip())
try:
    asyncio.run(main())
except corral.CorralError as error:
    print(error)
"""


def said(changes: str, **env: str) -> str:
    """What a program that has changed its own Python says when it opens a manager; it is one line."""
    argv = [sys.executable, "-c", PROGRAM, changes]
    ended = forkserver.run(argv, env=os.environ | env, text=True, timeout=30)
    assert (ended.returncode, ended.stderr, ended.stdout.count("\n")) == (0, "", 1)
    return ended.stdout.strip()


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ("sys.executable = None", "this program does not say where its Python is (sys.executable is empty)"),
        ("sys.executable = ''", "this program does not say where its Python is (sys.executable is empty)"),
        ("sys.executable = '/nowhere/python3'", "/nowhere/python3 (sys.executable) is no program"),
        ("sys.executable = '/bin/sh'", "/bin/sh (sys.executable) is a program with a Python inside"),
        (
            "sys.executable, sys.orig_argv = '/bin/sh', []",
            "/bin/sh (sys.executable) is a program with a Python inside",
        ),
        ("sys.frozen = True", f"{sys.executable} is a frozen program"),
    ],
)
def test_without_a_python_one_line_says_how_to_name_one(changes: str, what: str) -> None:
    way = ", so there is no Python to run the daemon: set CORRAL_PYTHON to the path of one that has corral"
    assert said(changes) == what + way
    assert said(changes, CORRAL_PYTHON=sys.executable) == "hello"


def test_a_python_that_cannot_run_it_says_why(corral: Corral, tmp_path: Path) -> None:
    without = tmp_path / "python"
    without.write_text("#!/bin/sh\necho several lines >&2\necho no module named corral >&2\nexit 1\n")
    without.chmod(0o755)
    env = {"CORRAL_PYTHON": str(without)}
    why = f"{without} cannot run the daemon (no module named corral); CORRAL_PYTHON names another Python, one that has corral"
    assert said("", **env) == why
    ended = corral("run", "true", env=env)
    assert (ended.returncode, ended.stdout, ended.stderr) == (125, "", f"corral: {why}\n")
    without.write_text("no program")
    assert f"the daemon cannot be started: {without}: Exec format error" in said("", **env)
    relative = corral("run", "true", env={"CORRAL_PYTHON": "python3"}).stderr
    assert (
        relative
        == "corral: CORRAL_PYTHON python3 is no program: set it to the path of a Python that has corral\n"
    )
    corral.ok("run", "true")
    ended = corral("daemon", "restart", env={"CORRAL_PYTHON": "/bin/false"})
    assert (ended.returncode, ended.stderr.count("\n")) == (125, 1)
    assert "/bin/false cannot load the daemon" in ended.stderr
    assert "nothing was restarted" in ended.stderr


def test_an_interpreter_may_have_any_name(corral: Corral, tmp_path: Path) -> None:
    called = tmp_path / "bin" / "monty"
    called.parent.mkdir()
    called.symlink_to(sys.executable)
    (tmp_path / "pyvenv.cfg").write_text(f"home = {os.path.dirname(os.path.realpath(sys.executable))}\n")
    corral.argv = (str(called), *corral.argv[1:])
    corral.environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    assert corral.ok("run", "-w", "-q", "echo", "hello") == "hello"
    assert corral.ok("run", "-w", "-q", "--output", "pipe", "echo", "hello") == "hello"
    corral.ok("daemon", "restart")
