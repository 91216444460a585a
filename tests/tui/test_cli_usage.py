"""Wrong usage is one line that names the help to look at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
import pytest

from corral import __version__
from corral_tui.cli.verbs import corral
from corral_tui.main import main


@pytest.mark.parametrize(
    ("words", "help_of"),
    [
        (["run", "--name"], "corral run"),
        (["logs", "-n"], "corral logs"),
        (["daemon", "stop", "--jobs"], "corral daemon stop"),
        (["daemon", "--wrong"], "corral daemon"),
        (["ps", "--wrong"], "corral ps"),
        (["--wrong", "run"], "corral"),
        (["run", "--max-output", "100", "true"], "corral run"),
    ],
)
def test_it_names_the_help_of_the_verb(words: list[str], help_of: str, capsys: Any) -> None:
    assert main(words) in (2, 125)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"; see {help_of} --help")


def _commands(group: click.Group = corral, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command: the whole program, its verbs, and theirs."""
    yield path
    for name in group.list_commands(click.Context(group)):
        inner = group.get_command(click.Context(group), name)
        if isinstance(inner, click.Group):
            yield from _commands(inner, (*path, name))
        else:
            yield (*path, name)


def _help(words: tuple[str, ...], columns: int, monkeypatch: Any, capsys: Any) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main([*words, "--help"]) == 0
    return str(capsys.readouterr().out).splitlines()


@pytest.mark.parametrize("words", list(_commands()), ids=lambda words: " ".join(words) or "corral")
def test_no_help_is_wider_than_80_columns_nor_than_the_terminal(
    words: tuple[str, ...], monkeypatch: Any, capsys: Any
) -> None:
    """What is to be typed as it stands is not cut; it fits into 80."""
    wide = _help(words, 200, monkeypatch, capsys)
    assert wide == _help(words, 80, monkeypatch, capsys)
    assert max(map(len, wide)) <= 80
    verbatim = {line.strip() for line in wide}
    assert _help(words, 1, monkeypatch, capsys)
    for columns in (60, 40):
        lines = _help(words, columns, monkeypatch, capsys)
        too_wide = {line.strip() for line in lines if len(line) > columns}
        assert too_wide <= verbatim | _UNBREAKABLE, columns
        assert not any("..." in line and "..." not in " ".join(wide) for line in lines), columns


_UNBREAKABLE = {"--sort [id|health|name|cpu|memory|time]"}


def test_version(capsys: Any) -> None:
    for option in ("-V", "--version"):
        assert main([option]) == 0
        assert capsys.readouterr().out == f"corral {__version__}\n"
