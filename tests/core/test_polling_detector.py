"""Jobs that only look round, and graphs of waits without any process."""

from __future__ import annotations

from corral.diagnosis.deadlock import deadlocked, first_to_move
from corral.measure.stuck_rule import POLLING_WAKEUPS, PollingDetector

MILLISECOND = 1_000_000


def test_looking_round_is_quiet_and_is_told_from_standing_still():
    quiet, still = PollingDetector(0.0), PollingDetector(0.0)
    for second in range(60):
        quiet.observe(float(second), {7: second * MILLISECOND, 8: 0}, "rest")
        still.observe(float(second), {7: 0}, "rest")
    assert quiet.lasts(60.0) >= 59.0
    assert quiet.has_stirred
    assert quiet.polling == {7}
    assert not still.has_stirred


def test_work_a_byte_or_a_new_process_end_it():
    for clocks, rest in (
        ({7: 100 * MILLISECOND}, "rest"),
        ({7: 9 * MILLISECOND}, "a byte more"),
        ({7: 9 * MILLISECOND, 9: 0}, "rest"),
    ):
        quiet = PollingDetector(0.0)
        for second in range(10):
            quiet.observe(float(second), {7: second * MILLISECOND}, "rest")
        assert quiet.lasts(10.0) >= 9.0
        quiet.observe(10.0, clocks, rest)
        assert quiet.lasts(10.0) == 0.0
        assert not quiet.polling


def test_steady_work_is_never_quiet():
    quiet = PollingDetector(0.0)
    for second in range(60):
        quiet.observe(float(second), {7: 20 * second * MILLISECOND}, "rest")
    assert quiet.lasts(60.0) < POLLING_WAKEUPS


def test_only_what_waits_for_the_knot_alone_is_in_it():
    assert deadlocked({1: (2,), 2: (1,)}) == {1, 2}
    assert deadlocked({1: (2, 3), 2: (1,)}) == set()
    assert deadlocked({1: (1,)}) == {1}
    assert deadlocked({1: (2,), 2: (1,), 4: (1, 2), 5: (4, 6)}) == {1, 2, 4}


def test_routes_lead_to_who_moves_first_and_into_circles_only_where_nothing_else_is():
    targets = {1: (2, 3), 2: (), 3: (), 4: (5,), 5: (4,), 6: (4, 1), 7: (7,)}
    keys = {2: (2, 2), 3: (0, 3)}
    found = first_to_move(targets, targets, lambda route: (keys.get(route[-1], (9, 9))[0], route[0]))
    assert found == {1: 3, 6: 1, 4: 5, 5: 4, 7: 7}


def test_hundreds_that_share_one_pipe_are_gone_through_once():
    everybody = tuple(range(600))
    targets = dict.fromkeys(everybody, everybody)
    asked: list[int] = []
    assert deadlocked(targets) == set(everybody)
    assert len(first_to_move(targets, targets, lambda route: (asked.append(1) or 0, 0))) == 600
    assert not asked
    targets[599] = ()
    found = first_to_move(targets, targets, lambda route: (asked.append(1) or 0, route[0]))
    assert set(found.values()) == {599}
    assert len(asked) == 600
