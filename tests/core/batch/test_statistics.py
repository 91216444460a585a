"""Durations, rate and failures of a batch."""

from __future__ import annotations

from statistics import median

from hypothesis import given
from hypothesis import strategies as st

from corral.batch import statistics
from corral.batch.statistics import KEPT_DURATIONS, MOST_CAUSES, OTHERS, Durations, Failures, Rate, cause_of


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50))
def test_the_median_is_that_of_the_standard_library(seconds: list[float]) -> None:
    durations = Durations()
    for each in seconds:
        durations.add(each)
    assert durations.median == median(seconds)


def test_of_very_many_the_newest_count() -> None:
    durations = Durations()
    assert durations.median is None
    for _ in range(KEPT_DURATIONS):
        durations.add(100.0)
    for _ in range(KEPT_DURATIONS // 2 + 1):
        durations.add(1.0)
    assert durations.median == 1.0
    assert durations.count == KEPT_DURATIONS + KEPT_DURATIONS // 2 + 1


def test_the_rate_is_that_of_the_last_minute() -> None:
    rate = Rate()
    assert rate.per_second(0.0) is None
    rate.note_start(0.0)
    assert rate.per_second(1.0) is None
    for second in range(10):
        rate.note_end(second + 0.5)
    assert rate.per_second(10.0) == 1.0
    for tick in range(1000, 1600):
        rate.note_end(tick / 10)
    assert rate.per_second(160.0) == 10.0


def test_a_slow_batch_is_measured_from_its_beginning() -> None:
    rate = Rate()
    rate.note_start(0.0)
    for minute in range(1, 11):
        rate.note_end(minute * 60.0)
    assert rate.per_second(600.0) == 10 / 600


def test_failures_that_are_alike_are_one() -> None:
    failures = Failures()
    for number in range(1, 6):
        line = f"line {number}: no such key: 0x{number}" if number != 3 else "killed"
        failures.note(failures.number_of(cause_of("exit 9", line)), f"12.{number}")
    groups = failures.groups()
    assert [(group.cause, group.count, group.ids) for group in groups] == [
        ("exit 9: line N: no such key: NxN", 4, ("12.1", "12.2", "12.4")),
        ("exit 9: killed", 1, ("12.3",)),
    ]
    assert cause_of("exit 9", "") == "exit 9"


def test_of_very_many_causes_the_last_are_one() -> None:
    failures = Failures()
    for number in range(MOST_CAUSES + 5):
        failures.note(failures.number_of("x" * number), f"1.{number}")
    assert len(failures.causes) == MOST_CAUSES + 1
    assert failures.groups()[0].cause == OTHERS
    assert failures.groups()[0].count == 5


def test_a_straggler_is_measured_by_the_median() -> None:
    durations = Durations()
    for _ in range(statistics.ENOUGH_FOR_STRAGGLERS):
        durations.add(2.0)
    assert not durations.is_straggling(6.0)
    assert durations.is_straggling(6.1)
    few = Durations()
    few.add(1.0)
    assert not few.is_straggling(100.0)


def test_a_share_of_the_median_needs_three() -> None:
    durations = Durations()
    for seconds in (1.0, 3.0):
        durations.add(seconds)
    assert durations.share_of_median(200.0) is None
    durations.add(2.0)
    assert durations.share_of_median(200.0) == 4.0
