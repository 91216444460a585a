"""CPU and memory over a whole life: bounded, nothing lost but detail, and gaps where nobody looked."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.jobs.job_table import JobTable
from corral.jobs.managed_job import Persisted
from corral.measure.history import History, Lifetime, decode, encode
from corral.measure.stuck_rule import Progress
from corral.model.history import MOST_CELLS, LifePast
from corral.monitor.history_store import HistoryStore
from corral.processes.usage_meter import note_lifetime

LOOKS = st.lists(st.tuples(st.floats(0.01, 5000), st.floats(0, 3), st.integers(0, 1 << 40)), min_size=1)


def new(began: float) -> Lifetime:
    return Lifetime(began, until=began)


def cpu_seconds(past: LifePast, until: float) -> float:
    """What all cells together say was used, up to `until` seconds of age."""
    widths = [min(past.seconds, until - number * past.seconds) for number in range(len(past.cpu))]
    return sum((cpu or 0.0) / 100 * width for cpu, width in zip(past.cpu, widths, strict=True))


@given(LOOKS)
def test_a_life_of_any_length_is_told_in_128_cells_with_its_whole_cpu_time_and_its_peak(
    looks: list[tuple[float, float, int]],
) -> None:
    life, now, used = new(100.0), 100.0, 0.0
    for seconds, cores, memory in looks:
        now, used = now + seconds, used + seconds * cores
        life.note(now, used, memory)
    past = life.values()
    assert len(past.cpu) == len(past.memory) <= MOST_CELLS
    assert past.seconds * len(past.cpu) >= now - 100.0
    # Each cell is rounded to a tenth of a percent.
    assert cpu_seconds(past, now - 100.0) == pytest.approx(used, abs=0.0006 * (now - 100.0) + 1e-6)
    assert max(peak or 0 for peak in past.memory) == max(memory for _, _, memory in looks)


def test_a_rest_is_no_cpu_and_a_pause_is_nothing_known() -> None:
    life = new(0.0)
    life.note(1.0, 1.0, 50)
    life.rest(2.0)
    life.rest(4.0)
    life.note(5.0, 2.0, 70)
    assert life.values() == LifePast(1.0, (100.0, 0.0, 0.0, 0.0, 100.0, None), (50, 50, 50, 50, 70, 70))
    life.stop_measuring()
    assert life.values(8.5).cpu[5:] == (None,) * 4
    life.note(9.0, 2.0, 70)
    life.note(10.0, 2.5, 60)
    assert life.values().cpu[5:10] == (None, None, None, None, 50.0)


def test_another_program_in_the_same_process_goes_on_without_a_gap() -> None:
    life = new(0.0)
    life.note(1.0, 1.0, 50)
    again = decode(encode(life), Lifetime)
    assert again == life
    again.note(3.0, 3.0, 50)
    assert again.values().cpu == (100.0, 100.0, 100.0, None)


@pytest.mark.parametrize(("last_moved", "gap"), [(1.5, 0.0), (300.0, None)])
def test_after_a_crash_what_moved_meanwhile_has_a_gap_and_what_did_not_has_rested(
    last_moved: float, gap: float | None
) -> None:
    """`last_moved` is what the next daemon finds out: it was still all the time, or is not any more."""
    life = new(0.0)
    life.note(2.0, 1.0, 50)
    kept: dict[int, Any] = {}
    journal: Any = SimpleNamespace(
        keep_history=kept.__setitem__, history_row=kept.get, keep_usage=lambda *_: None, usage=lambda _: None
    )
    job: Any = SimpleNamespace(id=1, history=History(lifetime=life, memory_bytes=50), persisted=Persisted())
    job.life = SimpleNamespace(started_now=0.0, is_ended=False, state="running")
    job.history.progress = Progress(last_moved)
    table = JobTable()
    table.started = {1: job}
    history_store = HistoryStore(table, journal, SimpleNamespace(), lambda _: pytest.fail("it runs"))  # type: ignore[arg-type]
    history_store.keep_all()
    assert not kept  # it is young
    history_store.keep_all(is_last=True)
    job.history = History(memory_bytes=50)
    history_store.recall(job)
    job.history.progress = Progress(last_moved)
    for now, job.history.last_cpu_seconds in ((300.0, 20.0), (304.0, 22.0)):
        note_lifetime(job, now)
    past = job.history.lifetime.values()
    assert past.seconds == 4.0
    assert (past.cpu[0], past.cpu[1], past.cpu[74], past.cpu[75]) == (
        25.0 if gap == 0.0 else 50.0,
        gap,
        gap,
        50.0,
    )
