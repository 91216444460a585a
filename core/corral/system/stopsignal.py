"""Which signal suspended a child of ours."""

from __future__ import annotations

import os


def stopped_by(pid: int) -> int | None:
    """The number of the signal that suspended `pid` (state T); None for what is no child of ours, or runs again.

    waitid(2) with WNOWAIT leaves the child as it is, to be asked again.
    """
    try:
        found = os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT)
    except (ChildProcessError, AttributeError):
        # macOS has waitid, but no WNOWAIT for a stop before Python 3.13.
        return None
    return found.si_status if found is not None else None
