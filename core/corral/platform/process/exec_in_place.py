"""Becoming another program in the same process: execve(2) keeps the pid, the children and the exit statuses they owe us.

Also kept (execve(2), prctl(2)): rlimits, the session, the subreaper attribute, the mask of blocked signals and the
signals that wait behind it, locks by flock(2), and descriptors without FD_CLOEXEC. Gone: threads, mappings, handlers.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from typing import NoReturn

BLOCKED = frozenset((signal.SIGTERM, signal.SIGINT))
"""Signals that the program handles. Between its last handler and the first of the next program their default action
would end the process; held, they wait for that handler."""


def block_signals() -> None:
    """From now on those of `BLOCKED` wait. Only for this thread: the one that calls execve(2) is the one that stays."""
    signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)


def unblock_signals() -> None:
    """Let those that waited come."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED)


def exec_program(argv: Sequence[str], environment: Mapping[str, str], kept: Iterable[int]) -> NoReturn:
    """Become the program `argv[0]` (an absolute path), which finds the descriptors `kept` open under their numbers.

    Raises:
        OSError: the kernel refuses it; nothing has changed.
    """
    kept = list(kept)
    try:
        for descriptor in kept:
            os.set_inheritable(descriptor, True)
        os.execve(argv[0], list(argv), dict(environment))  # noqa: S606  (that is what this is for)
    finally:
        for descriptor in kept:
            os.set_inheritable(descriptor, False)
