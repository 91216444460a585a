"""The past behind the sparks, and when the dashboard asks the daemon for it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from corral_tui.dashboard.board.sparklines import SparkHistories
from corral_tui.text.charset import SPARK_CELL_SECONDS
from tui.fake_jobs import NOW, job


@pytest.mark.parametrize(("cells", "is_asked"), [(0, False), (1, False), (2, True), (100, True)])
def test_a_hole_in_the_past_is_asked_for(cells: int, is_asked: bool) -> None:
    seen = job(1, "build")
    history = SparkHistories()
    history.note([seen], NOW)
    later = NOW + timedelta(seconds=SPARK_CELL_SECONDS * cells)
    assert history.missing([seen], later) == (("1",) if is_asked else ())
