"""The reports on what a stop did to the jobs of a batch, as one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from corral.model.job import State
from corral.model.reports import StopReport


def as_one(batch_id: int, state: State, reports: Sequence[StopReport]) -> StopReport:
    """Proven is only what is proven of each."""
    looked = [report.looked_at for report in reports]
    kill_in = [report.kill_in for report in reports if report.kill_in is not None]
    grace = [report.grace for report in reports if report.grace is not None]
    return StopReport(
        id=str(batch_id),
        state=state,
        seconds=max((report.seconds for report in reports), default=0.0),
        processes=tuple(process for report in reports for process in report.processes),
        survivors=tuple(survivor for report in reports for survivor in report.survivors),
        in_doubt=tuple(doubt for report in reports for doubt in report.in_doubt),
        kill_in=min(kill_in, default=None),
        grace=max(grace, default=None),
        looked_at=None if None in looked else max(filter(None, looked), default=datetime.now(UTC)),
    )
