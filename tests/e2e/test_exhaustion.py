"""Nothing left: a few of the shortages that `reliability/exhaust.py` injects everywhere."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

import pytest

from corral.platform.host import resource_errors
from reliability import for_real, injected
from reliability.injected import Injector
from reliability.injected_daemon import TARGETS

CASES = (
    ("fork", errno.EAGAIN, injected.pipeline),
    ("os.pipe", errno.EMFILE, injected.interactive),
    ("os.open", errno.ENFILE, injected.passed),
    ("os.mkdir", errno.ENOSPC, injected.plain),
    ("fork", errno.EAGAIN, injected.fifo),
    ("epoll", errno.ENOSPC, injected.plain),
    ("sqlite.many", sqlite3.SQLITE_FULL, injected.passed),
)


def test_each_shortage_costs_the_job_that_meets_it_and_nobody_else(tmp_path: Path) -> None:
    names = [target.name for target in TARGETS]
    with Injector(tmp_path) as injector:
        for name, failure, scenario in CASES:
            before = injector.tally.injected
            injector.run(scenario, names.index(name), failure, stays=False)
            assert injector.tally.injected > before, name
        assert injector.tally.broken == []


def test_files_that_may_grow_no_more_are_said_and_end_no_daemon(tmp_path: Path) -> None:
    for_real.file_size(tmp_path)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EMFILE, "?"), "file descriptors"),
        (OSError(errno.ENFILE, "?"), "fs.file-max"),
        (OSError(errno.ENOSPC, "?"), "no space left"),
        (OSError(errno.EDQUOT, "?"), "quota"),
        (BlockingIOError(errno.EAGAIN, "?"), "ulimit -u"),
        (MemoryError(), "no memory"),
        (RuntimeError("can't start new thread"), "threads"),
    ],
)
def test_a_shortage_names_what_is_lacking(error: Exception, words: str) -> None:
    assert resource_errors.is_shortage(error)
    assert words in resource_errors.explanation(error)


def test_what_is_no_shortage_says_what_it_is() -> None:
    assert not resource_errors.is_shortage(RuntimeError("no running event loop"))
    assert (
        resource_errors.explanation(PermissionError(errno.EACCES, "Permission denied")) == "Permission denied"
    )
