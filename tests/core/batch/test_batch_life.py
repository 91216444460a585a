"""How a batch ends, and when it is given up."""

from __future__ import annotations

import pytest

from corral.lifecycle.batch_life import BatchLife, BatchStop, batch_ending, halt_reason
from corral.lifecycle.state import Ending
from corral.model.batch import HaltRule


@pytest.mark.parametrize(
    ("rule", "failed", "ended", "halts"),
    [
        (HaltRule(), 9, 9, False),
        (HaltRule("soon"), 0, 5, False),
        (HaltRule("soon"), 1, 1, True),
        (HaltRule("now", 3), 2, 10, False),
        (HaltRule("now", 3), 3, 10, True),
        (HaltRule("soon", 50, is_percent=True), 2, 2, False),
        (HaltRule("soon", 50, is_percent=True), 1, 3, False),
        (HaltRule("soon", 50, is_percent=True), 2, 4, True),
    ],
)
def test_when_a_batch_is_given_up(rule: HaltRule, failed: int, ended: int, halts: bool) -> None:
    assert (halt_reason(rule, failed, ended) is not None) == halts


@pytest.mark.parametrize(
    ("life", "failed", "unsuccessful", "ending"),
    [
        (BatchLife(), 0, 0, Ending("succeeded", 0, None, None)),
        (BatchLife(), 7, 7, Ending("failed", 7, None, "7 of 1000 failed")),
        (BatchLife(), 500, 500, Ending("failed", 101, None, "500 of 1000 failed")),
        (BatchLife(), 1, 2, Ending("failed", 2, None, "2 of 1000 did not succeed")),
        (
            BatchLife(stop=BatchStop("stopped from the dashboard")),
            3,
            3,
            Ending("stopped", 143, None, "stopped from the dashboard"),
        ),
        (
            BatchLife(stop=BatchStop("stopped by Ctrl-C", exit_status=130)),
            0,
            0,
            Ending("stopped", 130, None, "stopped by Ctrl-C"),
        ),
        (
            BatchLife(stop=BatchStop("halted: 1 failed", is_halt=True)),
            0,
            5,
            Ending("stopped", 1, None, "halted: 1 failed"),
        ),
        (
            BatchLife(stop=BatchStop("halted: 9 failed", is_halt=True)),
            9,
            9,
            Ending("stopped", 9, None, "halted: 9 failed"),
        ),
        (BatchLife(ended_early=True), 0, 0, Ending("succeeded", 0, None, "its input ended early")),
        (
            BatchLife(ended_early=True),
            1,
            1,
            Ending("failed", 1, None, "1 of 1000 failed; its input ended early"),
        ),
    ],
)
def test_how_a_batch_ends(life: BatchLife, failed: int, unsuccessful: int, ending: Ending) -> None:
    assert batch_ending(life, failed, 1000, unsuccessful) == ending
