"""What the shell is offered."""

from __future__ import annotations

from typing import Any

import pytest

from corral.service.protocol import Jobs, ListJobs
from corral.values.errors import CorralError
from corral_tui.main import main
from tui.cli_fakes import FakeDaemon, ended_job, fake, make_job

__all__ = ["fake"]


def _offered(line: str, monkeypatch: Any, capsys: Any) -> list[str]:
    """The completions of the last word of `line`, as bash is told them."""
    words = line.split(" ")
    monkeypatch.setenv("_CORRAL_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    main([])
    said = capsys.readouterr()
    assert said.err == ""
    return [entry.partition(",")[2] for entry in said.out.splitlines() if entry]


def test_verbs_and_options(monkeypatch: Any, capsys: Any) -> None:
    assert _offered("corral pa", monkeypatch, capsys) == ["pause"]
    assert "--timeout" in _offered("corral run --ti", monkeypatch, capsys)
    assert _offered("corral ps --state qu", monkeypatch, capsys) == ["queued"]


def test_ids_and_names(fake: FakeDaemon, monkeypatch: Any, capsys: Any) -> None:
    fake.answers[ListJobs] = Jobs((make_job(7, name="build"), ended_job(12)))
    assert _offered("corral stop ", monkeypatch, capsys) == ["12", "7", "build"]
    assert _offered("corral logs b", monkeypatch, capsys) == ["build"]
    assert _offered("corral signal TERM 1", monkeypatch, capsys) == ["12"]


def test_signals(monkeypatch: Any, capsys: Any) -> None:
    assert _offered("corral stop -s TER", monkeypatch, capsys) == ["TERM"]
    assert "SIGINT" in _offered("corral signal SIGI", monkeypatch, capsys)


def test_trouble_is_no_noise_on_the_line(fake: FakeDaemon, monkeypatch: Any, capsys: Any) -> None:
    fake.answers[ListJobs] = CorralError("the daemon is away")
    assert _offered("corral stop ", monkeypatch, capsys) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts(shell: str, capsys: Any) -> None:
    assert main(["completion", shell]) == 0
    assert f"_CORRAL_COMPLETE={shell}_complete" in capsys.readouterr().out
