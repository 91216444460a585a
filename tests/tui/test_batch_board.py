"""A batch on the board: one row or one panel, whatever is in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from corral.client.snapshot import Snapshot
from corral.model.batch import FailureGroup
from corral.protocol.pushes import SnapshotPushed
from corral_tui.dashboard.board.order_and_selection import ORDERS, Model
from corral_tui.dashboard.paint.batch_lines import failure_lines, progress_line
from corral_tui.dashboard.paint.lines import text, width_of
from corral_tui.settings.dashboard import Settings
from corral_tui.text.charset import ASCII, UNICODE
from tui.fake_jobs import NOW, batch_job, ended_job, failing_batch, job, job_of_batch, stuck_job
from tui.fake_source import FakeSource
from tui.screens import assert_snapshot, running, screen_text


def source_with_batches(tmp_path: Path) -> FakeSource:
    jobs = [
        job(4, "web", command="python -m http.server"),
        failing_batch(),
        batch_job(13, "count", total=None, succeeded=4210, running=2, seconds_left=None, jobs_at_a_time=2),
        batch_job(
            14,
            "later",
            state="queued",
            health=None,
            started=None,
            elapsed=None,
            waiting_for="waits for job 4",
        ),
    ]
    return FakeSource(jobs, home=str(tmp_path))


@pytest.mark.parametrize("size", [(160, 50), (80, 24)])
@pytest.mark.parametrize("view", ["panels", "table"])
async def test_batches_on_the_board(view: str, size: tuple[int, int], tmp_path: Path) -> None:
    settings = Settings(view=view)  # type: ignore[arg-type]
    async with running(source_with_batches(tmp_path), size, settings=settings) as (app, _):
        assert_snapshot(app, f"batches_{view}_{size[0]}x{size[1]}")


async def test_it_is_told_in_plain_letters(tmp_path: Path) -> None:
    async with running(source_with_batches(tmp_path), (110, 36), charset=ASCII) as (app, _):
        shown = screen_text(app)
        assert shown.isascii()
        assert "340/1,000" in shown


def test_the_most_important_counts_stay_where_it_is_narrow() -> None:
    batch = failing_batch(retried=4)
    wide, narrow = (text(progress_line(batch, width, UNICODE)) for width in (120, 24))
    assert [
        word
        for word in ("340/1,000", "3 failed", "8 run", "2m left", "/s", "4 tried again")
        if word not in wide
    ] == []
    assert "340/1,000  3 failed" in narrow
    assert all(width_of(progress_line(batch, width, UNICODE)) <= width for width in range(9, 130))


@pytest.mark.parametrize(("done", "full"), [(0, 0), (1, 1), (999, 9), (1000, 10)])
def test_only_a_full_bar_is_full(done: int, full: int) -> None:
    ended = {"state": "succeeded"} if done == 1000 else {}
    batch = batch_job(
        1, "x", succeeded=done, running=0, seconds_left=None, per_second=None, jobs_at_a_time=1, **ended
    )
    words = f"{done:,}/1,000" + ("" if ended else "  1 at a time")
    shown = text(progress_line(batch, len(words) + 13, UNICODE))
    assert shown.count(UNICODE.bar_full) == full


def test_causes_that_do_not_fit_are_counted() -> None:
    causes = tuple(FailureGroup(f"exit {number}", 9 - number, ("1.1",)) for number in range(5))
    lines = [text(line) for line in failure_lines(batch_job(1, "x", failures=causes), 60, 3, UNICODE)]
    assert len(lines) == 3
    assert "exit 0" in lines[0]
    assert "3 other causes" in lines[2]


def test_jobs_of_batches_are_sorted_by_their_numbers() -> None:
    """None is on the board, but nothing there may fail over its id."""
    jobs = [job_of_batch(10), job_of_batch(2, "failed"), stuck_job(13, "x", "waits"), ended_job(3, "y")]
    model = Model(Snapshot().having(SnapshotPushed(rev=1, jobs=tuple(jobs))))
    for order in ORDERS:
        model.sort_by(order, NOW)
    assert list(model.snapshot.jobs) == ["3", "12.2", "12.10", "13"]
    assert [each.id for each in model.urgent()] == ["13", "12.2"]
    model.marks = {"12.10", "12.2", "3"}
    assert [each.id for each in model.marked] == ["3", "12.2", "12.10"]
