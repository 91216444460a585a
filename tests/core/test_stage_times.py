"""What the stages of a pipeline spend their time on, and which of them holds up the rest."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.diagnosis.stage_activity import StagePipes, sample_threads
from corral.measure.stage_times import (
    BOTTLENECK_LEAD,
    BOTTLENECK_LEAD_SECONDS,
    WINDOW,
    BottleneckTracker,
    StageTimeMeter,
    ThreadSample,
    WaitSide,
    pipe_wait_share,
)
from corral.model.job import StageTime
from corral.platform.files.pipes import inode_of
from corral.platform.host.procfs import HAS_PROCFS
from until import python, running, until

SECOND = 1_000_000_000


def spent(threads: Sequence[tuple[float, Sequence[WaitSide | None]]], **sides: bool) -> StageTime | None:
    """Each thread runs so much of its time, and is seen to do these things, one after the other, four times a second."""
    spending = StageTimeMeter(**{"has_input": True, "has_output": True, **sides})
    for look in range(20):
        seen = [
            ThreadSample(tid, int(share * look * SECOND / 4), doing[look % len(doing)])
            for tid, (share, doing) in enumerate(threads)
        ]
        spending.observe(100 + look / 4, seen)
    return spending.time()


def shares(time: StageTime | None) -> tuple[float, float, float, float]:
    assert time is not None
    return time.run, time.input, time.output, time.other


@pytest.mark.parametrize(
    ("threads", "expected"),
    [
        ([(1.0, [None])], (1, 0, 0, 0)),
        ([(0.2, ["input"])], (0.2, 0.8, 0, 0)),
        ([(0.2, ["output", None, None, None])], (0.2, 0, 0.8, 0)),
        ([(0.0, ["other"])], (0, 0, 0, 1)),
        ([(0.5, ["input", "output"])], (0.5, 0.25, 0.25, 0)),
        # Never seen asleep, though it was: at its pipes, then.
        ([(0.2, [None])], (0.2, 0.4, 0.4, 0)),
        # One reads, two work: the one tells.
        ([(0.0, ["input"]), (0.6, ["other"]), (0.6, ["other"])], (0, 1, 0, 0)),
        ([(0.1, ["other"]), (1.0, [None]), (1.0, [None])], (1, 0, 0, 0)),
    ],
)
def test_time_is_what_was_scheduled_and_what_it_slept_for(threads, expected):
    assert shares(spent(threads)) == pytest.approx(expected)


def test_a_stage_that_was_never_seen_asleep_waits_at_the_pipes_it_has():
    assert shares(spent([(0.2, [None])], has_input=False)) == pytest.approx((0.2, 0, 0.8, 0))
    assert shares(spent([(0.2, [None])], has_input=False, has_output=False)) == pytest.approx(
        (0.2, 0, 0, 0.8)
    )


def test_what_was_long_ago_or_too_short_does_not_count():
    spending = StageTimeMeter(has_input=True, has_output=True)
    for look in range(40):
        now = look / 2
        spending.observe(now, [ThreadSample(1, int(min(now, 10) * SECOND), None if now < 10 else "input")])
    assert shares(spending.time()) == (0, 1, 0, 0)
    spending = StageTimeMeter(has_input=True, has_output=True)
    spending.observe(0, [ThreadSample(1, 0, None)])
    spending.observe(1, [ThreadSample(1, SECOND, None)])
    assert spending.time() is None


def test_children_that_come_and_go_leave_nothing_behind():
    spending = StageTimeMeter(has_input=True, has_output=True)
    for look in range(100):
        spending.observe(look / 4, [ThreadSample(1, 0, "other"), ThreadSample(100 + look, 0, "input")])
    assert shares(spending.time()) == (0, 0, 0, 1)
    assert len(spending._past) < 4 * WINDOW + 3


@given(
    st.lists(
        st.tuples(
            st.floats(0, 1.2), st.lists(st.sampled_from(["input", "output", "other", None]), min_size=1)
        ),
        min_size=1,
        max_size=4,
    )
)
def test_shares_add_up(threads):
    time = spent(threads)
    assert min(shares(time)) >= 0
    assert sum(shares(time)) == pytest.approx(1, abs=0.03)


def waiting(*least: float) -> dict[int, StageTime]:
    """Stages that wait so much of their time at their pipes."""
    return {n: StageTime(run=1 - at, input=at, output=0, other=0) for n, at in enumerate(least, 1)}


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (waiting(0.9, 0.0, 1.0), 2),
        (waiting(0.5, 0.45, 1.0), None),
        (waiting(1.0, 1.0), None),
        (waiting(0.2), None),
        ({}, None),
    ],
)
def test_stage_that_holds_up_the_rest(times, expected):
    assert BottleneckTracker().observe(0, times) == expected


def test_the_mark_does_not_dance():
    hold_up, first, second = BottleneckTracker(), waiting(0.1, 0.5), waiting(0.5, 0.1)
    assert hold_up.observe(0, first) == 1
    now = 0.0
    for turn in range(20):
        now += 1
        assert hold_up.observe(now, (second, first)[turn % 2]) == 1
    assert hold_up.observe(now + 1, second) == 1
    assert hold_up.observe(now + 1 + BOTTLENECK_LEAD_SECONDS, second) == 2
    assert hold_up.observe(now + 2 + BOTTLENECK_LEAD_SECONDS, waiting(0.3, 0.3)) == 2
    assert hold_up.observe(now + 2 + 2 * BOTTLENECK_LEAD_SECONDS, waiting(0.3, 0.3)) is None


def test_a_stage_that_has_ended_holds_up_nobody():
    hold_up = BottleneckTracker()
    assert hold_up.observe(0, waiting(0.1, 0.5, 0.9)) == 1
    assert hold_up.observe(1, {2: waiting(0, 0.5)[2], 3: waiting(0, 0, 0.9)[3]}) == 2


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_who_is_shown_waits_least_by_enough(least):
    times = waiting(*least)
    number = BottleneckTracker().observe(0, times)
    if number is not None:
        others = [pipe_wait_share(time) for other, time in times.items() if other != number]
        assert min(others) - pipe_wait_share(times[number]) >= BOTTLENECK_LEAD


# ---- real programs --------------------------------------------------------------------------------------------------

READS_WITH_A_THREAD = """
import os, queue, threading
blocks = queue.Queue(1)
def read():
    while block := os.read(0, 1000):
        blocks.put(block)
threading.Thread(target=read, daemon=True).start()
while True:
    blocks.get(); sum(range(200_000))
"""
POLLS = "import os, select\nwhile select.select([0], [], []): os.read(0, 1000)"


@pytest.mark.skipif(not HAS_PROCFS, reason="the kernel tells on Linux only")
@pytest.mark.parametrize(
    ("first", "second", "slow"),
    [
        ("while True: os.write(1, b'x' * 5000)", "while True: os.read(0, 5000); sum(range(100_000))", 2),
        ("while True: os.write(1, b'x'); sum(range(100_000))", "while True: os.read(0, 5000)", 1),
        ("while True: os.write(1, b'x' * 5000); time.sleep(0.01)", "while True: os.read(0, 5000)", 1),
        ("while True: os.write(1, b'x' * 5000)", "while True: os.read(0, 5000); time.sleep(0.01)", 2),
        ("while True: os.write(1, b'x' * 5000)", READS_WITH_A_THREAD, 2),
        ("while True: os.write(1, b'x' * 500); time.sleep(0.05)", READS_WITH_A_THREAD, 1),
        ("while True: os.write(1, b'x' * 500); time.sleep(0.05)", POLLS, 1),
    ],
)
def test_real_stages(first: str, second: str, slow: int):
    read, write = os.pipe()
    pipe = inode_of(read)
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(running(*python(f"import os, time\n{first}"), stdout=write))
        reader = stack.enter_context(
            running(*python(f"import os, time\n{second}"), stdin=read, stdout=subprocess.DEVNULL)
        )
        for end in (read, write):
            os.close(end)
        stages = {
            1: StageTimeMeter(has_input=False, has_output=True),
            2: StageTimeMeter(has_input=True, has_output=False),
        }

        def times() -> dict[int, StageTime]:
            now = time.monotonic()
            stages[1].observe(now, sample_threads([writer.pid], StagePipes(None, pipe, is_first=True)))
            stages[2].observe(now, sample_threads([reader.pid], StagePipes(pipe, None, is_first=False)))
            found = {number: stage.time() for number, stage in stages.items()}
            return {number: seen for number, seen in found.items() if seen is not None}

        until(lambda: BottleneckTracker().observe(0, times()) == slow, f"stage {slow} to hold up the other")
