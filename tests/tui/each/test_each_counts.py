"""What the options of `each` say in numbers."""

from __future__ import annotations

import os
import resource

import pytest

from corral.model.batch import HaltRule
from corral.model.errors import UsageError
from corral_tui.cli.each import counts
from corral_tui.cli.each.counts import Percent, parse_halt, parse_jobs, parse_limit, parse_load


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("3", 3),
        ("100%", 8),
        ("50%", 4),
        ("1%", 1),
        ("150%", 12),
        ("+2", 10),
        ("-3", 5),
        ("-100", 1),
        ("+0", 8),
    ],
)
def test_a_number_of_jobs(text: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "available_cpus", lambda: 8)
    assert parse_jobs(text).resolve(1) == number


def test_as_many_as_limits_allow() -> None:
    found = parse_jobs("0").resolve(1)
    assert 1 <= found < 1 << 16
    assert parse_jobs("0").resolve(4) <= found
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert hard == resource.RLIM_INFINITY or found <= hard


@pytest.mark.parametrize("text", ["", "x", "1.5", "--1", "%", "+%", "2 ", "-5%"])
def test_what_is_no_number_of_jobs_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a number of jobs"):
        parse_jobs(text)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("never", HaltRule("never", 1)),
        ("soon", HaltRule("soon", 1)),
        ("now", HaltRule("now", 1)),
        ("now,fail=3", HaltRule("now", 3)),
        ("soon,fail=10%", HaltRule("soon", 10, is_percent=True)),
        ("soon,fail=100%", HaltRule("soon", 100, is_percent=True)),
    ],
)
def test_when_to_give_up(text: str, rule: HaltRule) -> None:
    assert parse_halt(text) == rule


@pytest.mark.parametrize(
    "text",
    ["", "later", "now,", "now,fail=", "now,fail=0", "soon,fail=0%", "now,fail=101%", "now,success=1", "2"],
)
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_halt(text)


def test_a_time_limit_is_a_duration_or_a_share_of_the_median() -> None:
    assert parse_limit("1m30s") == 90.0
    assert parse_limit("200%") == Percent(200.0)
    for text in ("0%", "x", "-3%", ""):
        with pytest.raises(UsageError):
            parse_limit(text)


def test_a_load_may_be_a_share_of_the_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "available_cpus", lambda: 8)
    assert (parse_load("1.5"), parse_load("4"), parse_load("80%")) == (1.5, 4.0, 6.4)
    for text in ("", "x", "-1", "inf"):
        with pytest.raises(UsageError, match="not a load"):
            parse_load(text)


def test_the_cpus_are_those_of_this_process() -> None:
    assert 1 <= counts.available_cpus() <= len(os.sched_getaffinity(0))
