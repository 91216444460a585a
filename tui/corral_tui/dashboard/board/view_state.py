"""What the layouts draw from: the board's state at one moment, and the words for one job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from textual.geometry import NULL_REGION, Region

from corral.model.job import Job
from corral_tui.dashboard.board.order_and_selection import Model
from corral_tui.dashboard.board.sparklines import FLOORS, Measured, SparkHistories
from corral_tui.dashboard.paint.job_words import end_reason
from corral_tui.dashboard.paint.lines import Spans, clean
from corral_tui.dashboard.paint.output_tails import Tails
from corral_tui.settings.dashboard import Order
from corral_tui.text.charset import Charset, Status, sparks, status_of, time_of

RECENT_OUTPUT = 30.0
"""Seconds for which a waiting job's last line tells more than what it waits for."""


class BoardMap(NamedTuple):
    """What stands where on the board: for the mouse."""

    jobs: Mapping[str, Region] = {}
    heads: tuple[tuple[Region, Order], ...] = ()
    """The heads of columns, and the order that a click on each asks for."""
    scrollbar: Region = NULL_REGION

    def job_at(self, x: int, y: int) -> str | None:
        return next((job_id for job_id, region in self.jobs.items() if region.contains(x, y)), None)

    def order_at(self, x: int, y: int) -> Order | None:
        return next((order for region, order in self.heads if region.contains(x, y)), None)


@dataclass(frozen=True, slots=True)
class ViewState:
    """One moment of the board."""

    model: Model
    history: SparkHistories
    tails: Tails
    now: datetime
    charset: Charset
    is_ready: bool = True
    """False until the first snapshot came: nothing is known yet, not even that nothing runs."""
    is_private: bool = False
    """Whether the jobs end with the dashboard, as in the demo."""

    def status(self, job: Job) -> Status:
        return status_of(job, self.now, self.charset)

    def time(self, job: Job) -> str:
        """How long it runs, or ran; blank before it started."""
        return time_of(job, self.now)

    def why(self, job: Job) -> str | None:
        """The sentence that says more than the job's last line does; None where there is none."""
        if job.state == "running":
            if job.health == "stuck":
                return clean(job.summary or "nothing moves")
            if job.health is None:
                return clean(job.summary) if job.summary else None
            return clean(job.summary) if job.summary and self._is_quiet(job) else None
        if job.state == "queued":
            return clean(job.waiting_for or "waits for its turn")
        if job.state == "stopping":
            return stopping_line(job, self.now, self.charset)
        is_told = job.state in ("timed_out", "lost") or job.was_ended_as_stuck
        return end_reason(job, is_behind_status=True) if is_told else None

    def _is_quiet(self, job: Job) -> bool:
        if job.health != "waiting":
            return False
        return job.last_output is None or (self.now - job.last_output).total_seconds() > RECENT_OUTPUT

    def last_line(self, job: Job) -> Spans:
        """Its last line of output, else why there is none."""
        tail = self.tails.of(job)
        line = tail.last_line() if tail else ()
        if line:
            return line
        fallback = end_reason(job, is_behind_status=True) if job.is_ended else job.summary
        if tail is not None and tail.problem:
            fallback = tail.problem
        return ((clean(fallback), "muted"),) if fallback else ()

    def spark(self, job: Job, measured: Measured, width: int) -> str:
        return sparks(self.history.of(job.id, measured), width, FLOORS[measured], self.charset)


def stopping_line(job: Job, now: datetime, charset: Charset) -> str:
    """`TERM sent to 2 · 1 left · KILL in 3 s`."""
    stopping = job.stopping
    if stopping is None:
        return "is being stopped"
    parts = [f"{stopping.signal} sent to {stopping.total}", f"{stopping.left} left"]
    if stopping.kill_at is not None:
        parts.append(f"KILL in {max(round((stopping.kill_at - now).total_seconds()), 0)} s")
    return f" {charset.dot} ".join(parts)
