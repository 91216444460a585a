"""Four processes of which three ignore TERM, one of them in a session of its own: what a plain kill leaves behind."""

from __future__ import annotations

import os
import signal
import sys
import time

BEAT = 2.0
MOST_BEATS = 300
"""Each process ends by itself after ten minutes, even if the others are gone."""


def ignore() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def stay() -> None:
    """Sleep until the ten minutes are over."""
    time.sleep(BEAT * MOST_BEATS)


def polite_child() -> None:
    """The only child that TERM ends."""
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        stay()
        os._exit(0)


def child_with_a_child() -> None:
    """A child that ignores TERM, and its child, which also leaves the session."""
    if os.fork() == 0:
        if os.fork() == 0:
            os.setsid()
        stay()
        os._exit(0)


def main() -> int:
    """Returns the exit status, after ten minutes."""
    ignore()
    print("I ignore TERM, INT and HUP.", flush=True)  # noqa: T201
    print("My grandchild has left for a session of its own.", flush=True)  # noqa: T201
    polite_child()
    child_with_a_child()
    for beat in range(1, MOST_BEATS + 1):
        time.sleep(BEAT)
        print(f"still here after {beat * BEAT:.0f} s", flush=True)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
