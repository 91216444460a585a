"""The lines of daemon.log, to which the daemon's stderr goes; one older file beside it, and no more."""

from __future__ import annotations

import os
import sys
import traceback
from datetime import UTC, datetime

LONGEST = 1 << 20
"""Bytes, a line more or less, after which a new file is begun."""
OLDER = ".1"
_bounded: list[str] = []


def keep_short(path: str) -> None:
    """From now on the log at `path` is kept short, as long as our stderr goes there."""
    _bounded[:] = [path]


def log(text: str) -> None:
    """One line, with the time. A log that cannot be written (a full disk) ends nothing: it is the last resort."""
    try:
        print(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {text}", file=sys.stderr, flush=True)  # noqa: T201
    except OSError:
        # ENOSPC, EIO: there is nowhere left to say it; the caller reports it.
        return
    for path in _bounded:
        _rotate(path)


def log_fault(where: str, error: BaseException) -> None:
    """An error that nobody expected, with its traceback."""
    log(f"fault in {where}: {''.join(traceback.format_exception(error)).rstrip()}")


def _rotate(path: str) -> None:
    """Where the log has become long: it becomes the older one, in place of the one before, and a new one begins."""
    try:
        if os.fstat(2).st_size <= LONGEST or not os.path.samestat(os.fstat(2), os.lstat(path)):
            return
        draft = f"{path}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(draft, flags, 0o600)
        try:
            # The new one is there before the old one goes: on a full disk everything stays as it is.
            shared = [number for number in (1, 2) if os.path.samestat(os.fstat(number), os.lstat(path))]
            os.rename(path, path + OLDER)
            os.rename(draft, path)
            for number in shared:
                os.dup2(descriptor, number)
        finally:
            os.close(descriptor)
    except OSError:
        # The log goes on where it is, and the next line tries again.
        return
