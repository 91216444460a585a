"""The lines of daemon.log, to which the daemon's stderr goes."""

from __future__ import annotations

import sys
import traceback
from datetime import UTC, datetime


def log(text: str) -> None:
    """One line, with the time. A log that cannot be written, on a full disk say, ends nothing: it is the last resort."""
    try:
        print(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {text}", file=sys.stderr, flush=True)  # noqa: T201
    except OSError:
        # ENOSPC, EIO: there is nowhere left to say it; who asked hears of it from its caller.
        return


def log_fault(where: str, error: BaseException) -> None:
    """An error that nobody expected, with its traceback."""
    log(f"fault in {where}: {''.join(traceback.format_exception(error)).rstrip()}")
