"""Whose home is used, and when the journal alone answers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from corral.model.errors import CorralError
from corral_tui.cli.support.home import chosen_home
from corral_tui.main import main

_IS_ROOT = os.geteuid() == 0


@pytest.mark.skipif(not _IS_ROOT, reason="only root can give a directory to another user")
@pytest.mark.parametrize("is_there", [True, False])
def test_sudo_with_a_users_home_is_refused(is_there: bool, tmp_path: Path, monkeypatch: Any) -> None:
    home = tmp_path / "ada" / "corral"
    (home if is_there else home.parent).mkdir(parents=True)
    os.chown(home if is_there else home.parent, 12345, 12345)
    monkeypatch.setenv("CORRAL_HOME", os.fspath(home))
    monkeypatch.setenv("SUDO_UID", "12345")
    with pytest.raises(CorralError, match="sudo -H corral"):
        chosen_home()


@pytest.mark.skipif(not _IS_ROOT, reason="only root can give a directory to another user")
def test_a_home_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    os.chown(tmp_path, 12345, 12345)
    monkeypatch.setenv("CORRAL_HOME", os.fspath(tmp_path))
    monkeypatch.delenv("SUDO_UID", raising=False)
    assert main(["ps"]) == 125
    (line,) = capsys.readouterr().err.splitlines()
    assert "12345" in line
    assert "CORRAL_HOME" in line


def test_a_home_under_a_file_is_refused(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CORRAL_HOME", os.fspath(tmp_path / "file" / "home"))
    assert main(["run", "true"]) == 125
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["ps"], 0, ""),
        (["ps", "-a", "--json"], 0, ""),
        (["ps", "3"], 1, "no job 3"),
        (["show", "3"], 1, "no job 3"),
        (["why"], 1, "nothing runs"),
        (["logs"], 1, "there is no job yet"),
        (["logs", "-f", "nope"], 1, "no job named nope"),
        (["wait", "3"], 125, "no job 3"),
        (["daemon", "status"], 3, ""),
        (["daemon", "stop"], 0, ""),
        (["daemon", "log"], 1, "no log"),
    ],
)
def test_reading_an_empty_home_starts_and_makes_nothing(
    words: list[str], status: int, said: str, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("CORRAL_HOME", os.fspath(home))
    assert main(words) == status
    assert said in capsys.readouterr().err
    assert not home.exists()
