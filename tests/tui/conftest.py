"""The same time zone everywhere, since the screens show the time of day; and no waiting where nothing is to be seen."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from textual import _wait

from corral_tui.dashboard.dialogs import base, stop, stopping
from corral_tui.dashboard.job import output_pane
from corral_tui.dashboard.job import screen as opened


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is looked at by the clock is looked at more often.

    After each key the pilot sleeps until the process did nothing for 20 ms, twice. What is ready runs before the sleep
    of the same loop ends, so 5 ms tell the same.
    """
    monkeypatch.setattr(_wait, "SLEEP_GRANULARITY", 0.005)
    monkeypatch.setattr(_wait, "SLEEP_IDLE", 0.00025)
    for module in (opened, stopping):
        monkeypatch.setattr(module, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(output_pane.OutputPane, "seconds", 0.05)
    monkeypatch.setattr(stop, "SEEN_SECONDS", 0.3)
    monkeypatch.setattr(base, "SOONEST_ANSWER", -60.0)
