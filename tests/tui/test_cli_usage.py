"""Wrong usage is one line that names the help to look at."""

from __future__ import annotations

from typing import Any

import pytest

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
    ],
)
def test_it_names_the_help_of_the_verb(words: list[str], help_of: str, capsys: Any) -> None:
    assert main(words) in (2, 125)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"; see {help_of} --help")
