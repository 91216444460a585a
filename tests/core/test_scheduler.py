"""Which job may start, and why another may not."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from corral.decide.scheduler import Dependency, FailedWait, Scheduler


def test_without_a_limit_all_start_in_the_order_of_their_ids() -> None:
    scheduler = Scheduler()
    for job in (2, 1, 3):
        scheduler.add(job)
    assert scheduler.take_ready() == [1, 2, 3]
    assert scheduler.take_ready() == []


def test_a_limit_is_kept_and_said() -> None:
    scheduler = Scheduler(2)
    for job in (1, 2, 3, 4):
        scheduler.add(job)
    assert scheduler.waiting_for(1) is None
    assert scheduler.take_ready() == [1, 2]
    assert scheduler.waiting_for(3) == "limit: 2 of 2 running"
    assert scheduler.waiting_for(1) is None
    scheduler.ended(2, True)
    assert scheduler.take_ready() == [3]


def test_no_more_are_taken_than_asked_for() -> None:
    scheduler = Scheduler()
    for job in range(1, 6):
        scheduler.add(job)
    assert scheduler.take_ready(2) == [1, 2]
    assert scheduler.take_ready(0) == []
    assert scheduler.take_ready(9) == [3, 4, 5]


def test_an_adopted_job_holds_a_slot() -> None:
    scheduler = Scheduler(1)
    scheduler.adopt(1)
    scheduler.add(2)
    assert scheduler.take_ready() == []
    scheduler.ended(1, False)
    assert scheduler.take_ready() == [2]


def test_a_raised_limit_lets_more_start() -> None:
    scheduler = Scheduler(1)
    scheduler.add(1)
    scheduler.add(2)
    assert scheduler.take_ready() == [1]
    scheduler.parallel = None
    assert scheduler.take_ready() == [2]


def test_a_job_starts_once_all_that_it_waits_for_succeeded() -> None:
    scheduler = Scheduler()
    scheduler.add(1)
    scheduler.add(2)
    scheduler.add(3, [Dependency(1, "dump"), Dependency(2)])
    assert scheduler.take_ready() == [1, 2]
    assert scheduler.waiting_for(3) == "job 1 (dump) and job 2 to succeed"
    scheduler.ended(1, True)
    assert scheduler.waiting_for(3) == "job 2 to succeed"
    assert scheduler.take_ready() == []
    scheduler.ended(2, True)
    assert scheduler.take_ready() == [3]


def test_many_dependencies_are_counted() -> None:
    scheduler = Scheduler()
    scheduler.add(9, [Dependency(job) for job in range(1, 6)])
    assert scheduler.waiting_for(9) == "job 1, job 2 and 3 more to succeed"


def test_a_dependency_that_ended_before_counts_at_once() -> None:
    scheduler = Scheduler()
    scheduler.add(3, [Dependency(1, None, True)])
    scheduler.add(4, [Dependency(1, None, True), Dependency(2, None, False)])
    assert scheduler.take_ready() == [3]
    assert scheduler.take_failed() == [FailedWait(4, 2)]


def test_a_failed_wait_is_told_once_and_goes_down_the_chain() -> None:
    scheduler = Scheduler()
    scheduler.add(1)
    scheduler.add(2, [Dependency(1)])
    scheduler.add(3, [Dependency(2)])
    assert scheduler.take_ready() == [1]
    scheduler.ended(1, False)
    assert scheduler.take_failed() == [FailedWait(2, 1)]
    scheduler.ended(2, False)
    assert scheduler.take_failed() == [FailedWait(3, 2)]
    scheduler.ended(3, False)
    assert scheduler.take_failed() == []
    assert (scheduler.queued, scheduler.running) == (0, 0)


def test_a_job_that_two_waits_fail_is_told_once() -> None:
    scheduler = Scheduler()
    scheduler.add(1)
    scheduler.add(2)
    scheduler.add(3, [Dependency(1), Dependency(2)])
    scheduler.ended(1, False)
    scheduler.ended(2, False)
    assert scheduler.take_failed() == [FailedWait(3, 1)]


def test_of_many_that_fail_some_are_told_at_a_time() -> None:
    scheduler = Scheduler()
    scheduler.add(1)
    for job in range(2, 7):
        scheduler.add(job, [Dependency(1)])
    scheduler.ended(1, False)
    told = []
    while scheduler.has_failed:
        some = scheduler.take_failed(2)
        assert len(some) <= 2
        told += some
        for wait in some:
            scheduler.ended(wait.job, False)
    assert told == [FailedWait(job, 1) for job in range(2, 7)]


def test_a_withdrawn_job_never_starts_and_fails_its_waiters() -> None:
    scheduler = Scheduler()
    scheduler.add(1)
    scheduler.add(2, [Dependency(1)])
    scheduler.withdraw(1)
    assert scheduler.take_ready() == []
    assert scheduler.take_failed() == [FailedWait(2, 1)]


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 3) | st.none(),
    st.lists(st.tuples(st.sets(st.integers(0, 15), max_size=3), st.booleans()), max_size=16),
)
def test_every_job_starts_or_fails_and_the_limit_holds(
    parallel: int | None, plan: list[tuple[set[int], bool]]
) -> None:
    scheduler = Scheduler(parallel)
    succeeds = {job: well for job, (_, well) in enumerate(plan, 1)}
    waits = {job: {d for d in after if 0 < d < job} for job, (after, _) in enumerate(plan, 1)}
    for job, after in waits.items():
        scheduler.add(job, [Dependency(d) for d in after])
    outcome: dict[int, bool] = {}
    running: list[int] = []
    while scheduler.queued or running:
        ready = scheduler.take_ready()
        for job in ready:
            assert all(outcome.get(d) for d in waits[job])
        running += ready
        assert parallel is None or len(running) <= parallel
        failed = scheduler.take_failed(2)
        assert len(failed) <= 2
        assert running or failed
        for wait in failed:
            assert outcome[wait.dependency] is False
            outcome[wait.job] = False
            scheduler.ended(wait.job, False)
        if running:
            job = running.pop(0)
            outcome[job] = succeeds[job]
            scheduler.ended(job, succeeds[job])
    assert outcome.keys() == waits.keys()
