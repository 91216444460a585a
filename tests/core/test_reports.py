"""The tests' own reports."""

from __future__ import annotations

import execnet
import pytest


def test_a_failure_about_a_path_that_is_no_text_can_be_sent_by_a_worker(
    request: pytest.FixtureRequest,
) -> None:
    message = "waited 30 s for b'/tmp/\udce9' \udcff"
    report = pytest.TestReport(
        "a::b", ("a", 1, "b"), {message: 1}, "failed", message, "call", [("stdout", message)]
    )
    data = request.config.hook.pytest_report_to_serializable(config=request.config, report=report)
    sent = execnet.loads(execnet.dumps(data))
    assert sent["longrepr"] == "waited 30 s for b'/tmp/\\udce9' \\udcff"
    assert sent["sections"][0][1] == sent["longrepr"]
