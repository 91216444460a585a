"""The processes that the kernel's out-of-memory killer ended, from the kernel log."""

from __future__ import annotations

import os
import re
import time
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

_LOG = "/dev/kmsg"
_KILLED = re.compile(rb"\bKilled process (\d+) \(([^)]*)\)")
_MOST_BYTES = 8192
"""Of one record (printk in kernel/printk/printk.c)."""
_MOST_RECORDS = 20_000
_LATE = timedelta(seconds=1)


class Killed(NamedTuple):
    """One process that the out-of-memory killer ended."""

    pid: int
    name: str
    at: datetime


def killed_between(first: datetime, last: datetime) -> list[Killed] | None:
    """What it killed in that time, to the accuracy of a second. None where the log may not be read (dmesg_restrict).

    The log holds what fits into its ring, a few hours or days. 1 µs a record; nothing is waited for.
    """
    try:
        log = os.open(_LOG, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    booted = datetime.now(UTC) - timedelta(seconds=time.clock_gettime(time.CLOCK_MONOTONIC))
    found = []
    try:
        for _ in range(_MOST_RECORDS):
            try:
                record = os.read(log, _MOST_BYTES)
            except BlockingIOError:
                break
            except BrokenPipeError:
                continue  # overwritten while we read: the next record is the oldest that is left
            killed = _parsed(record, booted)
            if killed is not None and first - _LATE <= killed.at <= last + _LATE:
                found.append(killed)
    except OSError:
        return None
    finally:
        os.close(log)
    return found


def _parsed(record: bytes, booted: datetime) -> Killed | None:
    """A record is `PRIORITY,SEQUENCE,MICROSECONDS,FLAGS;TEXT` (Documentation/ABI/testing/dev-kmsg)."""
    found = _KILLED.search(record)
    fields = record.partition(b";")[0].split(b",")
    if found is None or len(fields) < 3 or not fields[2].isdigit():
        return None
    at = booted + timedelta(microseconds=int(fields[2]))
    return Killed(int(found[1]), found[2].decode("utf-8", "replace"), at)
