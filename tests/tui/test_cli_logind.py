"""Whether logind ends processes at logout, read from configuration directories of the test's own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from corral.model.home import Home
from corral_tui.cli.support import logind


def _write(base: Path, name: str, text: str) -> str:
    path = base / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return os.fspath(base)


@pytest.mark.parametrize(
    ("text", "user", "expected"),
    [
        ("[Login]\nKillUserProcesses=yes\n", "ada", True),
        ("[Login]\nKillUserProcesses = true\n", "ada", True),
        ("[Login]\n#KillUserProcesses=yes\n", "ada", False),
        ("[Login]\nKillUserProcesses=no\n", "ada", False),
        ("[Login]\n", "ada", False),
        ("[Login]\nKillUserProcesses=yes\n", "root", False),
        ("[Login]\nKillUserProcesses=yes\nKillExcludeUsers=ada bob\n", "ada", False),
        ("[Login]\nKillUserProcesses=yes\nKillOnlyUsers=bob\n", "ada", False),
        ("[Login]\nKillUserProcesses=yes\nKillOnlyUsers=ada\n", "ada", True),
    ],
)
def test_one_file(text: str, user: str, expected: bool, tmp_path: Path) -> None:
    directory = _write(tmp_path / "etc", "logind.conf", text)
    assert logind.ends_processes(user, (directory,)) is expected


def test_drop_ins_have_the_last_word_and_hide_their_namesakes(tmp_path: Path) -> None:
    etc = _write(tmp_path / "etc", "logind.conf", "[Login]\nKillUserProcesses=no\n")
    lib = _write(tmp_path / "lib", "logind.conf.d/50-kill.conf", "[Login]\nKillUserProcesses=yes\n")
    assert logind.ends_processes("ada", (etc, lib))
    _write(tmp_path / "etc", "logind.conf.d/50-kill.conf", "")
    assert not logind.ends_processes("ada", (etc, lib))
    _write(tmp_path / "lib", "logind.conf.d/60-kill.conf", "[Login]\nKillUserProcesses=yes\n")
    assert logind.ends_processes("ada", (etc, lib))


def test_no_configuration_at_all(tmp_path: Path) -> None:
    assert not logind.ends_processes("ada", (os.fspath(tmp_path / "none"),))


def test_it_is_said_once(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    etc = _write(tmp_path / "etc", "logind.conf", "[Login]\nKillUserProcesses=yes\nKillExcludeUsers=\n")
    monkeypatch.setattr(logind, "_CONFIGURATIONS", (etc,))
    monkeypatch.setattr(logind, "_SESSIONS", os.fspath(tmp_path))
    monkeypatch.setattr(logind, "_LINGER", os.fspath(tmp_path / "linger"))
    home = Home(os.fspath(tmp_path))
    logind.warn_once(home)
    logind.warn_once(home)
    (line,) = capsys.readouterr().err.splitlines()
    assert "loginctl enable-linger" in line


def test_who_lingers_is_not_told(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    etc = _write(tmp_path / "etc", "logind.conf", "[Login]\nKillUserProcesses=yes\nKillExcludeUsers=\n")
    monkeypatch.setattr(logind, "_CONFIGURATIONS", (etc,))
    monkeypatch.setattr(logind, "_SESSIONS", os.fspath(tmp_path))
    monkeypatch.setattr(logind, "_LINGER", os.fspath(tmp_path / "linger"))
    monkeypatch.setattr(logind, "_user", lambda: "ada")
    _write(tmp_path / "linger", "ada", "")
    logind.warn_once(Home(os.fspath(tmp_path)))
    assert capsys.readouterr().err == ""
