"""What the daemon tells of itself: `corral daemon status`."""

from __future__ import annotations

import os
import time
from collections import Counter
from datetime import UTC, datetime

import psutil

from corral.engine.engine import Engine
from corral.model.reports import DaemonStatus
from corral.model.wire import to_wire
from corral.protocol.requests import PROTOCOL
from corral.version import __version__


class StatusReport:
    """Of the daemon that this process is."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._started = datetime.now(UTC)
        self._process = psutil.Process()
        self._cpu_mark = (time.monotonic(), time.process_time())
        self._cpu_percent: float | None = None

    def now(self) -> DaemonStatus:
        engine = self._engine
        engine.executor.leftovers.look()
        with self._process.oneshot():
            return DaemonStatus(
                pid=os.getpid(),
                version=__version__,
                socket=to_wire(engine.home.socket),
                home=to_wire(engine.home.path),
                started=self._started,
                jobs=self._jobs_by_state(),
                cpu_percent=self._own_cpu_percent(),
                memory_bytes=self._process.memory_info().rss,
                protocol=PROTOCOL,
                marks=engine.why_no_marks or "on",
                leftovers=leftovers_of_ended(engine),
                notices=(*engine.commits.notices, *engine.cleaner.notices, *engine.upkeep.notices),
            )

    def _jobs_by_state(self) -> dict[str, int]:
        table = self._engine.table
        counts = Counter[str](map(self._engine.snapshots.state_of, table.begun_ids()))
        counts["queued"] += len(table.queued)
        return dict(+counts)

    def _own_cpu_percent(self) -> float | None:
        """The daemon's own share of a core since the last question that is at least a second old."""
        now, used = time.monotonic(), time.process_time()
        before, used_before = self._cpu_mark
        if now - before >= 1.0:
            self._cpu_percent = round(100 * (used - used_before) / (now - before), 2)
            self._cpu_mark = (now, used)
        return self._cpu_percent


def leftovers_of_ended(engine: Engine) -> dict[str, int]:
    """How many processes live on of each job that has ended."""
    jobs = sorted(engine.table.started.items())
    return {str(job_id): job.leftovers for job_id, job in jobs if job.life.is_ended and job.leftovers}
