"""What the options of `each` say in numbers: how many at a time, when to give up, how long, above which load."""

from __future__ import annotations

import re
from typing import NamedTuple

from corral.model.batch import HaltRule, HaltWhen
from corral.model.errors import UsageError, brief_repr
from corral.model.units import parse_duration
from corral.platform.host.capacity import MOST_JOBS, available_cpus, most_jobs

_JOBS = re.compile(r"(?P<sign>[+-]?)(?P<number>\d{1,9})|(?P<percent>\d{1,9}(?:\.\d+)?)%")
_PERCENT = re.compile(r"(\d{1,9}(?:\.\d+)?)%")
_NUMBER = re.compile(r"\d{1,9}(?:\.\d+)?")
_HALT = re.compile(r"(?P<when>never|soon|now)(?:,fail=(?P<fail>\d{1,9})(?P<percent>%?))?")
_WHEN: dict[str, HaltWhen] = {"never": "never", "soon": "soon", "now": "now"}


class Percent(NamedTuple):
    """A share of something, in hundredths."""

    value: float


class JobCount(NamedTuple):
    """How many jobs at a time: a number, `base` CPUs and so many more, or a percentage of the CPUs."""

    number: int = 0
    base: int = 0
    percent: float | None = None

    def resolve(self, stages: int) -> int:
        """The number here and now, for jobs of so many stages; at least 1."""
        if self == _UNLIMITED:
            return most_jobs(stages)
        cpus = available_cpus()
        wanted = cpus * self.percent / 100 if self.percent is not None else self.base * cpus + self.number
        return max(1, min(int(wanted), MOST_JOBS))


_UNLIMITED = JobCount()
ONE_A_CPU = JobCount(base=1)


def parse_jobs(text: str) -> JobCount:
    """`4`, `50%` of the CPUs, `+2` or `-1` beside them; `0`: as many as limits allow. Raises UsageError."""
    found = _JOBS.fullmatch(text)
    if found is None:
        raise UsageError(f"not a number of jobs: {brief_repr(text)}: write it like 4, 50%, +2, -1 or 0")
    if found["percent"]:
        return JobCount(percent=float(found["percent"]))
    sign = found["sign"]
    number = int(found["number"])
    return JobCount(-number if sign == "-" else number, base=1 if sign else 0)


def parse_halt(text: str) -> HaltRule:
    """Raises UsageError."""
    found = _HALT.fullmatch(text)
    if found is None:
        raise UsageError(
            f"not a rule: {brief_repr(text)}: write never, soon, now, soon,fail=3 or now,fail=10%"
        )
    fail, is_percent = int(found["fail"] or 1), bool(found["percent"])
    if not fail or (is_percent and fail > 100):
        raise UsageError(f"{text}: it takes at least one failure, and at most 100%")
    return HaltRule(_WHEN[found["when"]], fail, is_percent)


def parse_limit(text: str) -> float | Percent:
    """A duration, or `200%`. Raises UsageError."""
    found = _PERCENT.fullmatch(text)
    if found is None:
        return parse_duration(text)
    if not float(found[1]):
        raise UsageError("0% leaves no time to run; leave it out for no limit")
    return Percent(float(found[1]))


def parse_load(text: str) -> float:
    """A load average, or a percentage of the CPUs. Raises UsageError."""
    share = _PERCENT.fullmatch(text)
    if share is not None:
        return available_cpus() * float(share[1]) / 100
    if _NUMBER.fullmatch(text):
        return float(text)
    raise UsageError(f"not a load: {brief_repr(text)}: write it like 4, 1.5 or 80%")
