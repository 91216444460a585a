"""A number, a name, or `@`."""

from __future__ import annotations

import pytest

from corral.lifecycle.job_reference import resolve
from corral.model.errors import NotSoError, UnknownJobError, shorten

UNENDED = [(7, "build"), (8, None), (9, "twice"), (10, "twice"), (11, "twice")]
ENDED = {"build": 5, "old": 4}


def look_up(reference: str, newest: int | None = 11) -> int:
    return resolve(
        reference,
        UNENDED,
        exists=lambda job: 0 < job <= 11,
        newest_ended=ENDED.get,
        newest=lambda: newest,
    )


@pytest.mark.parametrize(("reference", "job"), [("3", 3), ("007", 7), ("build", 7), ("old", 4), ("@", 11)])
def test_found(reference: str, job: int) -> None:
    assert look_up(reference) == job


@pytest.mark.parametrize("reference", ["0", "99", "9223372036854775808", "9" * 5000])
def test_no_such_number(reference: str) -> None:
    with pytest.raises(UnknownJobError) as caught:
        look_up(reference)
    assert str(caught.value) == f"no job {shorten(reference)}; corral ps -a lists all"


@pytest.mark.parametrize("reference", ["nobody", "", "-1", "²", "Build"])
def test_no_such_name(reference: str) -> None:
    with pytest.raises(UnknownJobError) as caught:
        look_up(reference)
    assert str(caught.value) == f"no job named {reference}; corral ps -a lists all"


def test_no_job_yet() -> None:
    with pytest.raises(UnknownJobError, match="there is no job yet"):
        look_up("@", newest=None)


def test_two_that_run_are_both_named() -> None:
    with pytest.raises(NotSoError) as caught:
        look_up("twice")
    assert str(caught.value) == "twice is the name of jobs 9, 10 and 11: use a number"
    assert not isinstance(caught.value, UnknownJobError)
