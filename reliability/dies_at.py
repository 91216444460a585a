"""A daemon that kills itself with SIGKILL at a chosen moment: `python dies_at.py HOME MOMENT NTH [FILE]`.

FILE gets the time of its end as its own."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from corral.daemon.main import run_foreground
from corral.engine.recovery import Recovery
from corral.executors.local import LocalExecutor
from corral.jobs.acceptance import Acceptance
from corral.jobs.job_observers import JobNotifier
from corral.journal.journal import Journal
from corral.journal.write_buffer import Pending
from corral.model.home import Home
from corral.platform.spawn import stand_in_launcher
from corral.processes.stop_sequence import StopSequences
from corral.runner.children import Children
from corral.runner.launcher import Launcher
from corral.runner.open_and_spawn import Starter
from corral.runner.stop_events import StopEvents


class Moment(NamedTuple):
    """Before or after a call of `owner.name`, such ones as `only` picks by the call's arguments."""

    owner: Any
    name: str
    is_after: bool = False
    only: Callable[..., bool] = lambda *_, **__: True


def _signal_is(wanted: str, *arguments: Any) -> bool:
    return wanted in arguments


def _has(rows: str, pending: Pending, *_: Any) -> bool:
    return bool(getattr(pending, rows))


def _commits(rows: str, journal: Journal) -> bool:
    return bool(getattr(journal._pending, rows))


def _is_second_stage(*arguments: Any) -> bool:
    return bool(arguments[2].number == 2)


MOMENTS = {
    "before a job is accepted": Moment(Journal, "commit", only=partial(_commits, "jobs")),
    "accepted, not answered": Moment(Acceptance, "accept", True),
    "before starting is committed": Moment(Journal, "commit", only=partial(_commits, "starting")),
    "starting is committed, no process yet": Moment(Launcher, "start"),
    "between two processes of a pipeline": Moment(Starter, "_spawn", only=_is_second_stage),
    "after the first process of a pipeline": Moment(Starter, "_spawn", True),
    "all processes, their pids not noted": Moment(Journal, "stages_started"),
    "all that went ahead are ready": Moment(Launcher, "_note_ready"),
    "starting is committed, none has the word": Moment(Starter, "release_stand_ins"),
    "one of those that went ahead has the word": Moment(stand_in_launcher, "send_go", True),
    "all that went ahead have the word": Moment(Starter, "release_stand_ins", True),
    "pids noted, not committed": Moment(Journal, "stages_started", True),
    "inside the write of new jobs": Moment(Pending, "write", True, partial(_has, "jobs")),
    "inside the write of starting": Moment(Pending, "write", True, partial(_has, "starting")),
    "inside the write of ends": Moment(Pending, "write", True, partial(_has, "ended")),
    "a stage has ended, not noted": Moment(Children, "_note_end"),
    "a job has ended, not noted": Moment(JobNotifier, "ended"),
    "a job has ended, not committed": Moment(JobNotifier, "ended", True),
    "a stop begun, nothing sent": Moment(StopSequences, "begin", True),
    "TERM sent, not noted": Moment(StopEvents, "signal_sent", only=partial(_signal_is, "TERM")),
    "between TERM and KILL": Moment(StopEvents, "signal_sent", True, partial(_signal_is, "TERM")),
    "KILL sent, nothing reaped": Moment(StopEvents, "signal_sent", only=partial(_signal_is, "KILL")),
    "nothing left, not noted": Moment(StopEvents, "tree_emptied"),
    "before a pause is sent": Moment(LocalExecutor, "signal_tree", only=partial(_signal_is, "STOP")),
    "a pause sent, not answered": Moment(LocalExecutor, "signal_tree", True, partial(_signal_is, "STOP")),
    "before a resume is sent": Moment(LocalExecutor, "signal_tree", only=partial(_signal_is, "CONT")),
    "a resume sent, not noted": Moment(LocalExecutor, "signal_tree", True, partial(_signal_is, "CONT")),
    "output deleted, rows not": Moment(Journal, "remove"),
    "in the middle of taking over": Moment(Recovery, "_take_over"),
    "a job taken over, not committed": Moment(Recovery, "_take_over", True),
    "all taken over, not committed": Moment(Journal, "note_boot", True),
    "in a checkpoint": Moment(Journal, "commit", True),
}
ONCE = {"all taken over, not committed"}
"""What a daemon does once in its life."""


def die_at(moment: Moment, nth: int, die: Callable[[], None]) -> None:
    """Put the hook in."""
    original = getattr(moment.owner, moment.name)
    numbers = itertools.count(1)

    def hooked(*arguments: Any, **options: Any) -> Any:
        is_it = moment.only(*arguments, **options) and next(numbers) == nth
        if is_it and not moment.is_after:
            die()
        result = original(*arguments, **options)
        if is_it and moment.is_after:
            die()
        return result

    setattr(moment.owner, moment.name, hooked)


def die() -> None:
    if len(sys.argv) > 4:
        # When exactly: who waits for our end may be told much later.
        os.utime(sys.argv[4])
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


def die_in_checkpoint(path: str) -> None:
    """Write the log into the journal again and again, until another thread ends the process in the middle of it.

    SQLite lets go of the interpreter's lock meanwhile, so the signal comes while it copies pages.
    """
    connection = sqlite3.connect(path, isolation_level=None)
    timer = threading.Timer(0.02 + time.time() % 0.01, die)
    timer.start()
    while True:
        connection.execute(
            "INSERT OR REPLACE INTO meta (key, value) VALUES ('filler', hex(randomblob(100000)))"
        )
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def main(path: str, name: str, nth: int) -> int:
    home = Home(path)
    if name == "in a checkpoint":
        die_at(MOMENTS[name], 5 * nth, partial(die_in_checkpoint, home.journal))
    else:
        die_at(MOMENTS[name], nth, die)
    return run_foreground(home)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
