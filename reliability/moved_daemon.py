"""A daemon whose wall clock can be set: `python moved_daemon.py HOME CONTROL`. CONTROL holds seconds, mapped by both sides.

`datetime.now` and `time.time` of every module of Corral go through it; the monotonic clock, which nobody can set, and the
event loop's timers are as ever.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
import time
from datetime import datetime, timedelta, tzinfo
from types import SimpleNamespace

_SHIFT = struct.Struct("<d")


class Shift:
    """Seconds by which the clock is off, shared by the run and the daemon."""

    def __init__(self, path: str, *, make: bool = False) -> None:
        descriptor = os.open(path, os.O_RDWR | (os.O_CREAT if make else 0), 0o600)
        if make:
            os.ftruncate(descriptor, mmap.PAGESIZE)
        self._memory = mmap.mmap(descriptor, mmap.PAGESIZE)
        os.close(descriptor)

    @property
    def seconds(self) -> float:
        return float(_SHIFT.unpack_from(self._memory, 0)[0])

    def set(self, seconds: float) -> None:
        _SHIFT.pack_into(self._memory, 0, seconds)


def move(shift: Shift) -> int:
    """Give every module of Corral that asks for the time the moved one; how many do."""

    class MovedDatetime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(seconds=shift.seconds)

    moved_time = SimpleNamespace(**vars(time))
    moved_time.time = lambda: time.time() + shift.seconds
    count = 0
    for name, module in list(sys.modules.items()):
        if name.startswith("corral.") and module.__file__:
            with open(module.__file__, encoding="utf-8") as file:
                source = file.read()
            if "datetime.now(" in source:
                module.datetime = MovedDatetime  # type: ignore[attr-defined]
                count += 1
            if "time.time()" in source:
                module.time = moved_time  # type: ignore[attr-defined]
                count += 1
    return count


def main(arguments: list[str]) -> int:
    from corral.daemon.main import run_foreground
    from corral.model.home import Home

    move(Shift(arguments[1]))
    return run_foreground(Home(arguments[0]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
