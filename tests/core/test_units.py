from __future__ import annotations

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.commandline.parser import parse
from corral.model.errors import UsageError
from corral.model.units import (
    check_name,
    check_new_name,
    format_duration,
    parse_duration,
    parse_signal,
    quote,
    signal_name,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("0.1s", 0.1),
        ("90", 90.0),
        (".5", 0.5),
        ("2m", 120.0),
        ("1h30m", 5400.0),
        ("1.5h", 5400.0),
        ("1d", 86400.0),
        ("1d5ms", 86400.005),
        ("0", 0.0),
        (" 5m ", 300.0),
    ],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "-1",
        "+1",
        "nan",
        "inf",
        "1e3",
        "1m1h",
        "1m1m",
        "1.5h3m",
        "m",
        "5 m",
        "5M",
        "5x",
        "٣s",
        "1.",
        "5m3",
    ],
)
def test_what_is_no_duration_is_refused_by_name(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_duration(text)
    assert repr(text) in str(caught.value)
    assert "1h30m" in str(caught.value)


@pytest.mark.parametrize("text", ["36501d", "9" * 400, "9" * 400 + "h"])
def test_a_duration_that_no_date_can_hold_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="36500d"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (300, "5m"),
        (0.1, "0.1s"),
        (130, "2m10s"),
        (0.05, "50ms"),
        (90.5, "1m30.5s"),
        (3600, "1h"),
        (86460, "1d1m"),
        (59.9996, "1m"),
        (0, "0s"),
        (-3, "0s"),
        (float("nan"), "0s"),
    ],
)
def test_a_duration_is_written_short(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.floats(min_value=0, max_value=36499 * 86400.0))
def test_a_written_duration_reads_back_to_the_millisecond(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, abs=0.00051)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("HUP", 1),
        ("SIGHUP", 1),
        ("hup", 1),
        ("sigkill", 9),
        ("1", 1),
        ("RTMIN+3", int(signal.SIGRTMIN) + 3),
        ("SIGRTMIN", int(signal.SIGRTMIN)),
        ("rtmax-1", int(signal.SIGRTMAX) - 1),
    ],
)
def test_a_signal_is_read(text: str, number: int) -> None:
    assert parse_signal(text) == number


@pytest.mark.parametrize(
    "text", ["", "0", "-9", "65", "99999999999999", "FOO", "RTMIN+99", "RTMAX+1", "RTMIN-1", "٣"]
)
def test_what_is_no_signal_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no such signal"):
        parse_signal(text)


def test_a_near_miss_is_named() -> None:
    with pytest.raises(UsageError, match="did you mean TERM"):
        parse_signal("TREM")


@given(st.sampled_from(sorted(signal.valid_signals())))
def test_every_signal_of_the_system_reads_back_from_its_name(number: int) -> None:
    assert parse_signal(signal_name(number)) == number


def test_names_of_signals() -> None:
    assert signal_name(15) == "TERM"
    assert signal_name(int(signal.SIGRTMIN) + 3) == "RTMIN+3"
    assert signal_name(999) == "999"


@pytest.mark.parametrize("text", ["a", "nightly-dump", "A.b_c-9", "a" * 64])
def test_a_name_is_accepted(text: str) -> None:
    assert check_name(text) == text


@pytest.mark.parametrize("text", ["", "7", "-a", "a b", "a/b", "ä", "a" * 65, "a\n", "@"])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a name for a job"):
        check_name(text)


def test_a_new_name_is_not_that_of_a_job_of_a_batch() -> None:
    assert check_name("enc.3") == "enc.3"
    for text in ("enc.3", "v1.2.30"):
        with pytest.raises(UsageError, match="a dot and digits"):
            check_new_name(text)
    for text in ("enc.3x", "enc3", "enc.", "a.b"):
        assert check_new_name(text) == text


@given(st.lists(st.text(st.characters(exclude_characters="\0")), min_size=1))
def test_quoted_words_read_back(argv: list[str]) -> None:
    assert parse(quote(argv)).stages[0].argv == tuple(argv)


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["ls", "-l", "a=b"], "ls -l a=b"),
        (["A=1", "x y"], "'A=1' 'x y'"),
        (["if"], "'if'"),
        (["echo", "if", "", "it's", "häuser"], "echo if '' 'it'\\''s' häuser"),
        ([], ""),
    ],
)
def test_quotes_stand_only_where_they_must(argv: list[str], text: str) -> None:
    assert quote(argv) == text
