from __future__ import annotations

import os
import subprocess
import time
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.measure.pipe_flow import Debounced, PipeFlow, limiter
from corral.measure.sampler import ProcessSampler
from corral.platform.files.pipes import fill_and_capacity
from corral.platform.host.procfs import HAS_PROCFS
from corral.platform.process.identity import identify
from corral.waits.process_wait import wait_of
from until import python, running, until

CAPACITY = 65536


class Counters(NamedTuple):
    read_bytes: int | None
    written_bytes: int | None
    cpu_seconds: float = 0.0


def wrote(count: int) -> Counters:
    return Counters(0, count)


def took(count: int) -> Counters:
    return Counters(count, 0)


def test_rate_is_over_the_last_five_seconds():
    flow = PipeFlow(1)
    for second in range(20):
        sent = 1000 * second if second <= 10 else 10_000
        flow.observe(float(second), wrote(sent), took(sent), 0, CAPACITY)
    pipe = flow.pipe()
    assert pipe.bytes_total == 10_000
    assert pipe.bytes_per_second == 0
    flow = PipeFlow(1)
    for second in range(8):
        flow.observe(float(second), wrote(1000 * second), took(1000 * second), 0, CAPACITY)
    assert flow.pipe().bytes_per_second == 1000


def test_one_observation_gives_no_rate():
    flow = PipeFlow(2)
    assert flow.pipe().bytes_total is None
    flow.observe(0.0, wrote(5), took(5), 0, CAPACITY)
    assert flow.pipe().bytes_per_second is None
    flow.observe(0.0, wrote(9), took(9), 0, CAPACITY)
    assert flow.pipe().bytes_per_second is None


def test_what_the_writer_says_on_stderr_is_not_counted():
    flow = PipeFlow(1)
    flow.observe(0.0, wrote(1500), None, 0, CAPACITY, writer_stderr_bytes=500)
    assert flow.pipe().bytes_total == 1000


def test_what_stands_in_the_pipe_has_left_the_writer():
    flow = PipeFlow(1)
    flow.observe(0.0, wrote(70_000), took(10_000), 60_000, CAPACITY)
    assert flow.pipe().bytes_total == 70_000


def test_reader_of_files_is_told_apart_by_the_writer():
    flow = PipeFlow(1)
    flow.observe(0.0, wrote(100), took(5_000_000), 0, CAPACITY)
    assert flow.pipe().bytes_total == 100


def test_one_huge_write_is_followed_by_its_reader():
    """The kernel adds a write to the writer's count when it returns, however long that takes."""
    flow = PipeFlow(1)
    for second in range(1, 6):
        flow.observe(float(second), wrote(0), took(1000 * second), 500, CAPACITY, writer_pending=10**9)
        assert flow.pipe().bytes_total == 1000 * second + 500
    assert flow.pipe().bytes_per_second == 1000


def moving(flow: PipeFlow, seconds: range, writer: int, reader: int, *, works: bool = True) -> None:
    """Each second so many bytes more of either side; both use CPU, or neither."""
    for second in seconds:
        cpu = second / 100 if works else 0.0
        wrote_, took_ = Counters(0, writer * second, cpu), Counters(reader * second + 7000, 0, cpu)
        flow.observe(float(second), wrote_, took_, 0, CAPACITY)


@pytest.mark.parametrize(("writer", "reader", "side"), [(0, 10**6, "writer"), (10**6, 0, "reader")])
def test_side_that_does_not_count_is_found_and_left_out(writer, reader, side):
    flow = PipeFlow(1)
    moving(flow, range(2), writer, reader)
    assert flow.suspect is None
    moving(flow, range(2, 4), writer, reader)
    assert flow.suspect == side
    assert (flow.pipe().bytes_total or 0) <= 7000
    flow.clear_suspicion()
    assert flow.suspect is None
    moving(flow, range(4, 14), writer, reader)
    assert flow.suspect == side
    flow.distrust_counter(side)
    assert flow.suspect is None
    moving(flow, range(14, 20), writer, reader)
    assert flow.pipe().bytes_total == 19 * 10**6 + (7000 if reader else 0)
    assert flow.pipe().bytes_per_second == 10**6
    assert not flow.pipe().exact


def test_sides_that_count_are_not_suspected():
    asleep = PipeFlow(1)
    moving(asleep, range(10), 0, 10**6, works=False)
    slow = PipeFlow(1)
    moving(slow, range(10), 0, 1000)
    both = PipeFlow(1)
    moving(both, range(10), 6 * 10**5, 10**6)
    assert (asleep.suspect, slow.suspect, both.suspect) == (None, None, None)


def test_what_a_reader_does_after_the_end_of_its_writer_is_not_counted():
    """`sort` reads its temporary files once its input has ended."""
    flow = PipeFlow(1)
    flow.observe(0.0, wrote(100), took(100), 0, CAPACITY)
    flow.observe(1.0, wrote(900), took(5000), 0, None, writer_runs=False)
    assert flow.pipe().bytes_total == 900


def test_end_of_the_writer_adds_nothing_after_the_fact():
    flow = PipeFlow(1)
    flow.observe(0.0, wrote(100), took(5_000_000), 0, CAPACITY)
    flow.observe(1.0, None, took(5_000_000), 0, CAPACITY)
    assert flow.pipe().bytes_total == 100
    flow.observe(2.0, None, took(5_000_040), 0, CAPACITY)
    assert flow.pipe().bytes_total == 140
    flow.observe(3.0, None, None, None, None)
    assert flow.pipe().bytes_total == 140
    assert flow.pipe().limited_by is not None


def test_count_is_exact_only_where_nothing_was_ever_written():
    flow = PipeFlow(1)
    flow.observe(0.0, wrote(0), took(7000), 0, CAPACITY, writer_is_alone=True, writer_waits="running")
    assert (flow.pipe().bytes_total, flow.pipe().exact) == (0, False)
    flow.observe(0.5, wrote(0), took(7000), 0, CAPACITY, writer_is_alone=True, writer_waits="timer")
    assert (flow.pipe().bytes_total, flow.pipe().exact) == (0, True)
    flow.observe(1.0, wrote(10), took(7000), 0, CAPACITY, writer_is_alone=True)
    assert (flow.pipe().bytes_total, flow.pipe().exact) == (10, False)
    flow.observe(2.0, wrote(0), took(0), 0, CAPACITY)
    assert not flow.pipe().exact


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 10**9), st.booleans(), st.integers(0, 10**9), st.integers(0, CAPACITY)),
        max_size=40,
    )
)  # fmt: skip
def test_total_never_falls_and_rate_is_never_negative(ticks):
    flow, before, written, taken = PipeFlow(1), 0, 0, 0
    for now, (has_writer, more_written, has_reader, more_taken, fill) in enumerate(ticks):
        written, taken = written + more_written, taken + more_taken
        flow.observe(
            float(now),
            wrote(written) if has_writer else None,
            took(taken) if has_reader else None,
            fill,
            CAPACITY,
        )
        pipe = flow.pipe()
        assert (pipe.bytes_total or 0) >= before
        assert (pipe.bytes_per_second or 0) >= 0
        before = pipe.bytes_total or 0


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1, max_size=40))
def test_total_never_exceeds_either_side_while_both_live(ticks):
    flow, written, taken = PipeFlow(1), 0, 0
    for now, (more_written, more_taken) in enumerate(ticks):
        written, taken = written + more_written, taken + more_taken
        flow.observe(float(now), wrote(written), took(taken), 0, CAPACITY)
        total = flow.pipe().bytes_total
        assert total == min(written, taken)


@pytest.mark.parametrize(
    ("fill", "writer", "writer_waits", "reader_waits", "expected"),
    [
        (CAPACITY, "alive", None, "running", "reader"),
        (60_000, None, None, "running", "reader"),
        (40_000, "alive", "pipe_write", "running", "reader"),
        (40_000, "alive", "running", "running", "none"),
        (0, "alive", "timer", "pipe_read", "writer"),
        (0, "alive", "running", None, "writer"),
        (0, "alive", "running", "timer", "none"),
        (0, None, None, "pipe_read", "none"),
        (None, "alive", None, None, None),
    ],
)
def test_slow_side_of_a_pipe(fill, writer, writer_waits, reader_waits, expected):
    assert limiter(fill, CAPACITY, writer, writer_waits, reader_waits) == expected


def test_mark_does_not_dance():
    steady = Debounced("none")
    shown = [steady.observe(seen) for seen in ("a", "a", "b", "a", "b", "a", "b", "b")]
    assert shown == ["a", "a", "a", "a", "b", "a", "b", "b"]
    steady = Debounced("none")
    assert [steady.observe(seen) for seen in ("a", "b", "c", "d")] == ["a", "a", "a", "a"]


@pytest.mark.skipif(not HAS_PROCFS, reason="pipes are seen from outside on Linux only")
def test_real_pipeline_with_a_slow_middle():
    """Stage 1 writes without end, stage 2 reads nothing and waits on a timer, stage 3 waits for what never comes."""
    into, out_of = os.pipe(), os.pipe()
    with (
        running(*python("import os\nwhile True: os.write(1, b'x' * 5000)"), stdout=into[1]) as first,
        running(*python("import time; time.sleep(60)"), stdin=into[0], stdout=out_of[1]) as second,
        running("cat", stdin=out_of[0], stdout=subprocess.DEVNULL) as third,
    ):
        for end in (*into, *out_of):
            os.close(end)
        processes = (first, second, third)
        sampler, flows = ProcessSampler(), (PipeFlow(1), PipeFlow(2))
        identities = [identify(process.pid) for process in processes]

        def look() -> bool:
            for flow, (writer, reader) in zip(flows, ((0, 1), (1, 2)), strict=True):
                usages = [sampler.usage(i) if i else None for i in (identities[writer], identities[reader])]
                waits = [w for n in (writer, reader) if (w := wait_of(processes[n].pid))]
                fill, capacity = fill_and_capacity(processes[writer].pid, 1) or (None, None)
                flow.observe(
                    time.monotonic(),
                    *usages,
                    fill,
                    capacity,
                    writer_waits=waits[0].kind,
                    reader_waits=waits[1].kind,
                )
            return [flow.pipe().limited_by for flow in flows] == ["reader", "writer"]

        until(look, "the middle to be the slow side of both")
        assert flows[0].pipe().bytes_total == flows[0].pipe().fill_bytes > CAPACITY // 2
