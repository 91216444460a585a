"""What a command prints: JSON stays the same value, and nothing in it acts on a terminal."""

from __future__ import annotations

import json
from typing import Any

import pytest

from corral_tui.cli.plain import note, put_json, say

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
