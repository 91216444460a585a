"""What a command prints: JSON stays the same value, and nothing in it acts on a terminal."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from corral_tui.text.lines import ALERT, HEADING, StyledLine, print_lines
from corral_tui.text.terminal_output import note, put_json, say

HOSTILE = "\x7f\u009b31m\u202e\u2066\u200b\ufeff\U000e0041\u2028 é 日本 👩\u200d🚀 \x1b]0;t\x07"


@pytest.mark.parametrize("indent", [None, 2])
def test_json_is_the_same_value(capsys: Any, indent: int | None) -> None:
    put_json(json.dumps([{HOSTILE: HOSTILE}], ensure_ascii=False, indent=indent))
    said = capsys.readouterr().out
    assert json.loads(said) == [{HOSTILE: HOSTILE}]
    assert not any(letter in said for letter in "\x7f\u009b\u202e\u2066\u200b\ufeff\U000e0041\u2028\x1b")
    assert "é 日本 👩\u200d🚀" in said


def test_a_line_is_one_line_whatever_it_was_made_of(capsys: Any) -> None:
    for tell in (say, note):
        tell(f"a\n{HOSTILE}")
    out, err = capsys.readouterr()
    assert out == err
    assert out.count("\n") == 1
    assert not any(letter in out for letter in "\x7f\u009b\u202e\u200b\x1b")


@pytest.mark.parametrize(
    ("environment", "on_a_terminal", "elsewhere"),
    [
        ({}, True, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": ""}, True, False),
        ({"FORCE_COLOR": "1"}, True, True),
        ({"FORCE_COLOR": "3"}, True, True),
        ({"FORCE_COLOR": ""}, True, False),
        ({"FORCE_COLOR": "0"}, False, False),
        ({"FORCE_COLOR": "false"}, False, False),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False, False),
        ({"NO_COLOR": "", "FORCE_COLOR": "1"}, True, True),
        ({"TERM": "dumb"}, False, False),
        ({"TERM": ""}, False, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, True, True),
    ],
)
def test_one_place_decides_of_colour(
    environment: dict[str, str], on_a_terminal: bool, elsewhere: bool, monkeypatch: Any, capsys: Any
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for is_terminal, wanted in ((True, on_a_terminal), (False, elsewhere)):
        monkeypatch.setattr(sys.stdout, "isatty", lambda is_terminal=is_terminal: is_terminal)
        print_lines([StyledLine("a", HEADING), StyledLine("b", ALERT)])
        assert ("\x1b[" in capsys.readouterr().out) is wanted, is_terminal
