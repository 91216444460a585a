"""One output file under `--max-output`: what is known of it, and how its head is dropped. `output_cap` decides when."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from msgspec import Struct

from corral.model.home import dropped_note
from corral.output.job_files import open_own
from corral.platform.files import hole_punching

SOONEST_SECONDS = 0.02
"""Between two looks at a stream that grows fast."""
LINE_SEARCH = 64 << 10
"""How far before a cut its line may begin for the whole line to stay."""


class CappedStream(Struct, eq=False):
    """One output file of Corral's that has grown, or soon will have, past its cap."""

    path: str
    name: str
    """As people call it: `stdout`, `stderr of stage 2 (gzip)`."""
    noted: int
    """Bytes dropped, as the note says."""
    punched: int = 0
    """Up to where this daemon knows the hole to reach. One that died after its note may not have come to it."""
    size: int = 0
    """When it was looked at last."""
    rate: float = 0.0
    """Bytes per second: the last, or half of an earlier one for each second since."""
    measured_at: float = 0.0
    measured_size: int = 0
    is_punching: bool = False
    spared: bool = False
    """Somebody still reads what the cap would have dropped."""
    cannot: bool = False
    """The file system refuses: everything is kept."""
    trouble: str | None = None
    """What was said of it last, until it was done after all."""

    @property
    def hole_end(self) -> int:
        """Up to where the note wants a hole."""
        return self.noted - self.noted % hole_punching.BLOCK

    def measure(self, size: int, now: float) -> None:
        """It has this size now."""
        self.size = size
        elapsed = now - self.measured_at
        if elapsed >= SOONEST_SECONDS / 2:
            grown = max(0, size - self.measured_size) / elapsed
            self.rate = max(grown, self.rate * 0.5**elapsed)
            self.measured_size, self.measured_at = size, now


def begin_note(path: str) -> None:
    """Make the note, and try on it, which holds nothing, whether the file system punches holes at all. Raises OSError."""
    descriptor = open_own(dropped_note(path), os.O_RDWR | os.O_CREAT)
    try:
        hole_punching.punch(descriptor, 0, hole_punching.BLOCK)
    finally:
        os.close(descriptor)


def set_note(path: str, length: int) -> None:
    """So much of an output file's head is dropped. Raises OSError."""
    descriptor = open_own(dropped_note(path), os.O_WRONLY)
    try:
        os.ftruncate(descriptor, length)
    finally:
        os.close(descriptor)


def open_to_punch(path: str) -> int:
    """An output file; nothing else that may stand in its place.

    Raises:
        OSError: also where it is no regular file of Corral's any more: a link, a FIFO, or under a second name.
    """
    descriptor = open_own(path, os.O_WRONLY)
    if os.fstat(descriptor).st_nlink > 1:
        os.close(descriptor)
        raise PermissionError(1, "it is not the file that was made for it")
    return descriptor


def punched(descriptor: int, start: int, end: int) -> OSError | None:
    """Punch and close; what went wrong. Nothing is done to a file that was made shorter since: what stands there is new."""
    try:
        if os.fstat(descriptor).st_size >= end:
            hole_punching.punch(descriptor, start, end)
    except OSError as error:
        return error
    finally:
        os.close(descriptor)
    return None


def in_thread(work: Callable[[], None]) -> None:
    """Do it beside the loop, if the system lets us."""
    try:
        threading.Thread(target=work, name="punch", daemon=True).start()
    except RuntimeError:
        # EAGAIN, no more threads: better late for everybody than a disk that fills.
        work()


def line_start(path: str, cut: int, lowest: int) -> int:
    """Where the line that stands at `cut` begins, if that is near and can be read without waiting; else `cut`.

    Raises OSError.
    """
    start = max(lowest, cut - LINE_SEARCH)
    if start >= cut:
        return cut
    descriptor = open_own(path, os.O_RDONLY)
    try:
        place = read_ready(descriptor, cut - start, start).rfind(b"\n")
    finally:
        os.close(descriptor)
    return start + place + 1 if place >= 0 else cut


def read_ready(descriptor: int, limit: int, offset: int) -> bytes:
    """Bytes that are in memory; none where reading would wait for the disk, or on XFS for a write (preadv2(2))."""
    buffer = bytearray(limit)
    try:
        count = os.preadv(descriptor, [buffer], offset, getattr(os, "RWF_NOWAIT", 0))
    except BlockingIOError:
        return b""
    except OSError:
        # EOPNOTSUPP: tmpfs knows no such read, and needs none.
        count = os.preadv(descriptor, [buffer], offset)
    return bytes(buffer[:count])
