"""A user whom the system does not know, and no HOME: as in containers and under cron."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from corral_tui.main import main
from e2e.users import as_ordinary_user, why_no_ordinary_user

UNKNOWN = 54321
"""A uid without an entry in any passwd."""


@pytest.fixture
def _nobody_knows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def unknown(uid: int) -> Any:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("HOME", "CORRAL_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("_nobody_knows")
@pytest.mark.parametrize("home", [None, "", "somewhere"])
@pytest.mark.parametrize(
    "words", ["ps", "run true", "show 1", "daemon status", "daemon run", "clean", "wait 1", "logs"]
)
def test_one_line_says_what_to_set(
    words: str, home: str | None, monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path
) -> None:
    if home is not None:
        monkeypatch.setenv("HOME", home)
    assert main(words.split()) == 125
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("corral: cannot tell where this user's files belong")
    assert said.err.endswith("set CORRAL_HOME to a directory of yours\n")
    assert said.err.count("\n") == 1
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become a user whom nobody knows")
def test_with_corral_home_everything_works() -> None:
    reason = why_no_ordinary_user()
    if reason is not None:
        pytest.skip(reason)
    folder = tempfile.mkdtemp(prefix="corral-unknown-")
    os.chown(folder, UNKNOWN, UNKNOWN)
    as_unknown = [*as_ordinary_user(UNKNOWN), sys.executable, "-m", "corral_tui.main"]

    def told(*words: str) -> tuple[int, str, str]:
        env = {"PATH": os.environ["PATH"], "CORRAL_HOME": f"{folder}/home"}
        ended = subprocess.run(
            [*as_unknown, *words], env=env, cwd="/", capture_output=True, text=True, check=False
        )
        return ended.returncode, ended.stdout, ended.stderr

    try:
        assert told("run", "-w", "-q", "echo", "hello") == (0, "hello\n", "")
        assert told("logs") == (0, "hello\n", "")
        for words in ("ps -a", "show 1", "why 1", "clean --dry-run", "daemon status"):
            status, said, complaint = told(*words.split())
            assert (status, complaint) == (0, "")
            assert said
    finally:
        assert told("daemon", "stop", "--jobs", "stop")[0] == 0
        shutil.rmtree(folder)


def test_a_relative_home_in_a_directory_that_is_gone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setenv("CORRAL_HOME", "here")
    assert main(["ps"]) == 125
    assert (
        "CORRAL_HOME here is relative to the current directory, which has been removed"
        in capsys.readouterr().err
    )
