"""Marks, words, sparks and bars: each status is told without colour."""

from __future__ import annotations

import pytest

from corral.model.urgency import needs_a_human
from corral_tui.text.charset import (
    ASCII,
    CPU_FLOOR,
    UNICODE,
    Charset,
    bar,
    charset_of_terminal,
    sparks,
    status_of,
)
from tui.fake_jobs import NOW, ended_job, job, paused_job, queued_job, stopping_job, stuck_job, waiting_job

JOBS = [
    job(1, "a"),
    waiting_job(2, "b", "waits for a timer"),
    stuck_job(3, "c", "waits for input"),
    job(4, "d", health=None),
    queued_job(5, "e", "its turn"),
    paused_job(6, "f"),
    stopping_job(7, "g"),
    ended_job(8, "h"),
    ended_job(9, "i", "failed"),
    ended_job(10, "j", "timed_out"),
    ended_job(11, "k", "lost"),
    ended_job(12, "l", "stopped"),
]


def words(charset: Charset) -> list[str]:
    return [f"{status.mark} {status.word}" for status in (status_of(each, NOW, charset) for each in JOBS)]


def test_each_status_has_its_own_mark_and_word() -> None:
    assert words(UNICODE) == [
        "● active",
        "○ waiting",
        "! STUCK 2m",
        "◌ running",
        "· queued",
        "‖ paused 1m",
        "■ stopping 2s",
        "✓ succeeded",
        "✗ failed 1",
        "✗ timed out",
        "? lost",
        "■ stopped",
    ]


def test_the_linux_console_gets_ascii() -> None:
    shown = words(ASCII)
    assert all(line.isascii() for line in shown)
    assert len(set(shown)) == len(shown)


def test_who_needs_a_human() -> None:
    assert [each.title for each in JOBS if needs_a_human(each)] == ["c", "i", "j", "k"]


def test_sparks_do_not_make_mountains_of_noise() -> None:
    assert sparks([0.1, 0.2, 0.4], 3, CPU_FLOOR, UNICODE) == "▁▁▁"
    assert sparks([0.0, 50.0, 100.0], 3, CPU_FLOOR, UNICODE) == "▁▅█"


def test_a_missing_past_is_blank_and_the_length_is_the_same() -> None:
    assert sparks([100.0], 4, CPU_FLOOR, UNICODE) == "   █"
    assert sparks([None, 100.0, None], 3, CPU_FLOOR, UNICODE) == " █ "
    assert sparks([], 8, CPU_FLOOR, UNICODE) == " " * 8


@pytest.mark.parametrize(
    ("filled", "drawn"),
    [(None, "▕    ▏"), (0.0, "▕    ▏"), (0.05, "▕█   ▏"), (0.5, "▕██  ▏"), (0.97, "▕███ ▏"), (1.0, "▕████▏")],
)
def test_full_means_full_and_empty_means_empty(filled: float | None, drawn: str) -> None:
    assert bar(filled, 4, UNICODE) == drawn


def test_charset_of_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "linux")
    assert charset_of_terminal() is ASCII
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr("locale.getencoding", lambda: "UTF-8")
    assert charset_of_terminal() is UNICODE
    monkeypatch.setattr("locale.getencoding", lambda: "ANSI_X3.4-1968")
    assert charset_of_terminal() is ASCII
