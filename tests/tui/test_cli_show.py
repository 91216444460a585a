"""What `corral show` says, and the same facts on the dashboard."""

from __future__ import annotations

import pytest

from corral.model.job import Job
from corral.model.reports import Detail
from corral_tui.dashboard.job.about_text import about_lines
from corral_tui.dashboard.paint import lines
from corral_tui.text.charset import UNICODE
from corral_tui.text.job_details import detail_lines
from tui.fake_jobs import job


@pytest.mark.parametrize(
    ("shown", "path", "told", "pane"),
    [
        (job(1, "a", stdin="file"), "/data/shop\a.sql", "/data/shop␇.sql", "/data/shop·.sql"),
        (job(1, "a", stdin="interactive"), None, "interactive", "open: corral send writes to it"),
        (job(1, "a", stdin="job", from_="7"), None, "the stdout of job 7", "the output of job 7"),
    ],
)
def test_what_its_stdin_is(shown: Job, path: str | None, told: str, pane: str) -> None:
    detail = Detail(job=shown, stdin_path=path)
    assert f"  stdin      {told}" in [line.text for line in detail_lines(detail)]
    about = about_lines(shown, detail, shows_values=False, width=80, charset=UNICODE)
    assert any(lines.text(line).split(maxsplit=1) == ["stdin", pane] for line in about)
