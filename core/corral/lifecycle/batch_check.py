"""What the specification of a batch has to be before one is made of it."""

from __future__ import annotations

import math
import os

from corral.model import validators
from corral.model.batch import BatchSpec
from corral.model.errors import UsageError, shorten
from corral.model.spec import NullInput

MOST_AT_A_TIME = (1 << 16) - 1
MOST_RETRIES = (1 << 16) - 2
_MOST_BYTES = 1 << 60
_JOBS = validators.whole_number(1, MOST_AT_A_TIME, f"how many jobs run at a time, from 1 to {MOST_AT_A_TIME}")
_RETRIES = validators.whole_number(0, MOST_RETRIES, f"how often to try again, from 0 to {MOST_RETRIES}")


def check_batch(spec: BatchSpec) -> None:
    """Of what its jobs have in common only what differs from other jobs. Raises UsageError."""
    if spec.job.pty or not isinstance(spec.job.stdin, NullInput):
        raise UsageError("the jobs of a batch have no terminal, and nothing on their stdin")
    _JOBS("jobs", spec.jobs)
    _RETRIES("retries", spec.retries)
    validators.SECONDS("retry_delay", spec.retry_delay)
    validators.SECONDS("delay", spec.delay)
    for what, value, most in (
        ("halt", spec.halt.fail, 100.0 if spec.halt.is_percent else float(_MOST_BYTES)),
        ("timeout_percent", spec.timeout_percent, 1e9),
        ("load", spec.load, 1e9),
        ("memfree", spec.memfree, _MOST_BYTES),
    ):
        if value is not None and not (math.isfinite(value) and 0 < value <= most):
            raise UsageError(f"{what} of {value:g}: above 0 and up to {most:g} are possible")
    if spec.joblog is not None and ("\0" in spec.joblog or not os.path.isabs(spec.joblog)):
        raise UsageError(f"the joblog {shorten(spec.joblog)} is not an absolute path")
