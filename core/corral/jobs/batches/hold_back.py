"""Whether the next job of a batch may start by now: `--delay`, `--load`, `--memfree`."""

from __future__ import annotations

import os

import psutil

from corral.model.batch import BatchSpec
from corral.model.units import format_size

ASK_AGAIN_SECONDS = 0.5


def why_not_now(spec: BatchSpec, last_start: float, now: float) -> tuple[str, float] | None:
    """Why it may not, and after how many seconds to ask again. `now` and `last_start` are monotonic seconds, 0 for never."""
    since = now - last_start
    if spec.delay and last_start and since < spec.delay:
        return f"{spec.delay:g}s are to lie between two starts", spec.delay - since
    if spec.load is not None and (load := _running()) >= spec.load:
        return (
            f"{load:g} processes of the machine want to run, and the limit is {spec.load:g}",
            ASK_AGAIN_SECONDS,
        )
    if spec.memfree is not None and psutil.virtual_memory().available < spec.memfree:
        return f"less than {format_size(spec.memfree)} of memory is free", ASK_AGAIN_SECONDS
    return None


def _running() -> float:
    """How many processes run or could, ourselves aside (`/proc/loadavg`, proc_loadavg(5)); elsewhere the load of the last
    minute, which tells of a start only long after it."""
    try:
        with open("/proc/loadavg", encoding="ascii") as file:
            return int(file.read().split()[3].partition("/")[0]) - 1
    except FileNotFoundError:
        return os.getloadavg()[0]
