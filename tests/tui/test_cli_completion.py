"""What the shell is offered."""

from __future__ import annotations

import os
from typing import Any

import pytest

from corral_tui.cli.support import completion_items
from corral_tui.main import main
from tui.cli_fakes import ended_job, make_job, pipeline_job


def _offered(line: str, monkeypatch: Any, capsys: Any) -> list[str]:
    """The completions of the last word of `line`."""
    return [entry.partition(",")[2] for entry in _answered(line, monkeypatch, capsys)]


def _answered(line: str, monkeypatch: Any, capsys: Any) -> list[str]:
    """As bash is told them, with their kinds."""
    words = line.split(" ")
    monkeypatch.setenv("_CORRAL_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    main([])
    said = capsys.readouterr()
    assert said.err == ""
    return [entry for entry in said.out.splitlines() if entry]


def test_verbs_and_options(monkeypatch: Any, capsys: Any) -> None:
    assert _offered("corral pa", monkeypatch, capsys) == ["pause"]
    assert "--timeout" in _offered("corral run --ti", monkeypatch, capsys)
    assert _offered("corral ps --state qu", monkeypatch, capsys) == ["queued"]


@pytest.fixture
def known(monkeypatch: Any) -> None:
    """Jobs of every kind, as the journal has them."""
    piped = pipeline_job(9)
    jobs = [
        make_job(11, name="next", state="queued"),
        make_job(10, name="shell", pty=True, stdin="terminal"),
        piped,
        make_job(8, name="ask", stdin="interactive"),
        make_job(7, name="held", state="paused"),
        make_job(6, name="twice"),
        make_job(5, name="twice"),
        ended_job(4, name="ask"),
        ended_job(3, name="bg", leftovers=2),
        ended_job(2, name="late", state="timed_out"),
        ended_job(1, name="late"),
    ]
    monkeypatch.setattr(completion_items, "known_jobs", lambda: jobs)


_STARTED = "10 shell 9 squeeze 8 ask 7 held 6 5"


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("corral stop ", f"11 next {_STARTED} 3 bg"),
        ("corral kill ", f"11 next {_STARTED} 3 bg"),
        ("corral signal TERM ", _STARTED),
        ("corral attach ", "10 shell"),
        ("corral send ", "10 shell 8 ask"),
        ("corral peek ", "9 squeeze"),
        ("corral pause ", "10 shell 9 squeeze 8 ask 6 5"),
        ("corral resume ", "7 held"),
        ("corral rm ", "4 3 bg 2 late 1"),
        ("corral rm --force ", f"11 next {_STARTED} 4 3 bg 2 late 1"),
        ("corral logs ", f"11 next {_STARTED} 4 3 bg 2 late 1"),
        ("corral run --after ", f"11 next {_STARTED} 4 3 bg 1"),
        ("corral run --from s", "shell squeeze"),
        ("corral wait l", "late"),
        ("corral stop ask 10 s", "shell squeeze"),
        ("corral stop ask 1", "11 10"),
        ("corral stop ask 10 1", "11"),
    ],
)
def test_only_jobs_that_the_verb_can_use(line: str, wanted: str, monkeypatch: Any, capsys: Any) -> None:
    """A number, and the name where it means that job: two run as `twice`, and `ask` means the one that runs."""
    assert _offered(line, monkeypatch, capsys) == wanted.split()


def test_programs_then_files_after_run(tmp_path: Any, monkeypatch: Any, capsys: Any) -> None:
    for name, mode in (("maker", 0o755), ("make-notes.txt", 0o644), ("ma ke", 0o755)):
        (tmp_path / name).touch(mode)
    monkeypatch.setenv("PATH", f"{tmp_path / 'not there'}:{tmp_path}")
    assert _offered("corral run ma", monkeypatch, capsys) == ["maker"]
    assert _offered("corral run --name x --wait ", monkeypatch, capsys) == ["maker"]
    for line in ("corral run ./ma", "corral run unknown", "corral run maker ma", "corral run -- maker ma"):
        word = line.split(" ")[-1]
        assert _answered(line, monkeypatch, capsys) == [f"file,{word}"], line
    # What follows the first word is that program's affair.
    assert _offered("corral run maker --j", monkeypatch, capsys) == []
    assert _answered("corral run maker -n x", monkeypatch, capsys) == ["file,x"]


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("corral ps --health ", "active waiting stuck"),
        ("corral ps --sort ", "id health name cpu memory time"),
        ("corral ps --state = q", "queued"),  # as bash cuts --state=q into words
        ("corral ps --state=q", "--state=queued"),  # as zsh and fish do not
        ("corral run --on-stuck ", "mark stop"),
        ("corral daemon stop --jobs l", "leave"),
        ("corral completion ", "bash zsh fish"),
        ("corral nosuch ", ""),
        ("corral stop -s SIGTE", "SIGTERM"),
        ("corral stop -s hup", "HUP"),
        ("corral stop -s SIGNONE", ""),
    ],
)
def test_values_of_options(line: str, wanted: str, monkeypatch: Any, capsys: Any) -> None:
    assert _offered(line, monkeypatch, capsys) == wanted.split()


def test_signals(monkeypatch: Any, capsys: Any) -> None:
    assert _offered("corral stop -s TER", monkeypatch, capsys) == ["TERM"]
    assert "SIGINT" in _offered("corral signal SIGI", monkeypatch, capsys)


def test_trouble_is_no_noise_on_the_line(tmp_path: Any, monkeypatch: Any, capsys: Any) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("CORRAL_HOME", os.fspath(home))
    assert _offered("corral stop ", monkeypatch, capsys) == []
    assert not home.exists()
    home.mkdir(0o700)
    (home / "corral.db").write_bytes(b"no journal" * 1000)
    assert _offered("corral stop ", monkeypatch, capsys) == []
    home.chmod(0o770)
    (home / "corral.db").chmod(0)
    assert _offered("corral stop ", monkeypatch, capsys) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts(shell: str, capsys: Any) -> None:
    assert main(["completion", shell]) == 0
    assert f"_CORRAL_COMPLETE={shell}_complete" in capsys.readouterr().out
