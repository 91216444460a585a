"""Which job may start, and why another may not."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from corral.lifecycle.scheduler import Dependency, FailedWait, Group, Scheduler


def limited_to(limit: int | None) -> Scheduler:
    scheduler = Scheduler()
    scheduler.configure(Group(limit=limit))
    return scheduler


def test_without_a_limit_all_start_in_the_order_of_their_ids() -> None:
    scheduler = Scheduler()
    for job in (2, 1, 3):
        scheduler.add(job)
    assert scheduler.take_ready() == [1, 2, 3]
    assert scheduler.take_ready() == []


def test_a_limit_is_kept_and_said() -> None:
    scheduler = limited_to(2)
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
    scheduler = limited_to(1)
    scheduler.adopt(1)
    scheduler.add(2)
    assert scheduler.take_ready() == []
    scheduler.ended(1, False)
    assert scheduler.take_ready() == [2]


def test_a_raised_limit_lets_more_start() -> None:
    scheduler = limited_to(1)
    scheduler.add(1)
    scheduler.add(2)
    assert scheduler.take_ready() == [1]
    scheduler.configure(Group())
    assert scheduler.take_ready() == [2]


def test_a_job_starts_once_all_that_it_waits_for_succeeded() -> None:
    scheduler = Scheduler()
    scheduler.add(1)
    scheduler.add(2)
    scheduler.add(3, after=[Dependency(1, "dump"), Dependency(2)])
    assert scheduler.take_ready() == [1, 2]
    assert scheduler.waiting_for(3) == "job 1 (dump) and job 2 to succeed"
    scheduler.ended(1, True)
    assert scheduler.waiting_for(3) == "job 2 to succeed"
    assert scheduler.take_ready() == []
    scheduler.ended(2, True)
    assert scheduler.take_ready() == [3]


def test_many_dependencies_are_counted() -> None:
    scheduler = Scheduler()
    scheduler.add(9, after=[Dependency(job) for job in range(1, 6)])
    assert scheduler.waiting_for(9) == "job 1, job 2 and 3 more to succeed"


def test_a_dependency_that_ended_before_counts_at_once() -> None:
    scheduler = Scheduler()
    scheduler.add(3, after=[Dependency(1, None, True)])
    scheduler.add(4, after=[Dependency(1, None, True), Dependency(2, None, False)])
    assert scheduler.take_ready() == [3]
    assert scheduler.take_failed() == [FailedWait(4, 2)]


def test_a_failed_wait_is_told_once_and_goes_down_the_chain() -> None:
    scheduler = Scheduler()
    scheduler.add(1)
    scheduler.add(2, after=[Dependency(1)])
    scheduler.add(3, after=[Dependency(2)])
    assert scheduler.take_ready() == [1]
    scheduler.ended(1, False)
    assert scheduler.take_failed() == [FailedWait(2, 1)]
    scheduler.ended(2, False)
    assert scheduler.take_failed() == [FailedWait(3, 2)]
    scheduler.ended(3, False)
    assert scheduler.take_failed() == []


def test_a_job_that_two_waits_fail_is_told_once() -> None:
    scheduler = Scheduler()
    scheduler.add(1)
    scheduler.add(2)
    scheduler.add(3, after=[Dependency(1), Dependency(2)])
    scheduler.ended(1, False)
    scheduler.ended(2, False)
    assert scheduler.take_failed() == [FailedWait(3, 1)]


def test_of_many_that_fail_some_are_told_at_a_time() -> None:
    scheduler = Scheduler()
    scheduler.add(1)
    for job in range(2, 7):
        scheduler.add(job, after=[Dependency(1)])
    scheduler.ended(1, False)
    told = []
    while scheduler.has_failed:
        some = scheduler.take_failed(2)
        assert len(some) <= 2
        told += some
        for wait in some:
            scheduler.ended(wait.job, False)
    assert told == [FailedWait(job, 1) for job in range(2, 7)]


def test_a_job_that_ends_in_the_queue_never_starts_and_fails_its_waiters() -> None:
    scheduler = Scheduler()
    scheduler.add(1)
    scheduler.add(2, after=[Dependency(1)])
    scheduler.ended(1, False)
    assert scheduler.take_ready() == []
    assert scheduler.take_failed() == [FailedWait(2, 1)]


def test_a_wait_that_failed_is_told_once_also_when_another_one_fails_later() -> None:
    scheduler = Scheduler()
    scheduler.add(3, after=[Dependency(1), Dependency(2)])
    scheduler.ended(1, False)
    assert scheduler.take_failed() == [FailedWait(3, 1)]
    scheduler.ended(2, False)
    assert scheduler.take_failed() == []


def test_the_higher_priority_starts_first_and_the_older_job_among_equals() -> None:
    scheduler = Scheduler()
    for job, priority in ((1, 0), (2, -5), (3, 7), (4, 0), (5, 7)):
        scheduler.add(job, priority=priority)
    assert scheduler.take_ready() == [3, 5, 1, 4, 2]


def test_each_group_has_a_limit_of_its_own() -> None:
    scheduler = limited_to(1)
    scheduler.configure(Group("encode", limit=2))
    for job in (1, 2):
        scheduler.add(job)
    for job in (3, 4, 5):
        scheduler.add(job, "encode")
    assert sorted(scheduler.take_ready()) == [1, 3, 4]
    assert scheduler.waiting_for(2) == "limit: 1 of 1 running"
    assert scheduler.waiting_for(5) == "2 of 2 run in group encode"
    scheduler.ended(4, True)
    assert scheduler.waiting_for(5) is None
    assert scheduler.take_ready() == [5]


def test_a_lowered_limit_ends_nothing_and_starts_nothing() -> None:
    scheduler = limited_to(3)
    for job in range(1, 6):
        scheduler.add(job)
    assert scheduler.take_ready() == [1, 2, 3]
    scheduler.configure(Group(limit=1))
    assert scheduler.waiting_for(4) == "limit: 3 of 1 running"
    for job in (1, 2):
        scheduler.ended(job, True)
        assert scheduler.take_ready() == []
    scheduler.ended(3, True)
    assert scheduler.take_ready() == [4]


def test_a_paused_group_starts_nothing_until_it_is_resumed() -> None:
    scheduler = Scheduler()
    scheduler.configure(Group("encode", paused=True))
    scheduler.add(1, "encode")
    scheduler.add(2)
    assert scheduler.waiting_for(1) == "group encode is paused"
    assert scheduler.take_ready() == [2]
    scheduler.configure(Group("encode"))
    assert scheduler.take_ready() == [1]


def test_groups_take_turns_however_few_are_taken_at_a_time() -> None:
    scheduler = Scheduler()
    scheduler.configure(Group("encode"))
    for job in range(1, 101):
        scheduler.add(job)
    scheduler.add(101, "encode")
    taken = [*scheduler.take_ready(1), *scheduler.take_ready(1)]
    assert sorted(taken) == [1, 101]


def test_an_adopted_job_holds_a_slot_of_its_group() -> None:
    scheduler = Scheduler()
    scheduler.configure(Group("encode", limit=1))
    scheduler.adopt(1, "encode")
    scheduler.add(2, "encode")
    scheduler.add(3)
    assert scheduler.take_ready() == [3]
    scheduler.ended(1, True)
    assert scheduler.take_ready() == [2]


def test_a_group_that_nobody_made_is_refused_and_nothing_queued() -> None:
    scheduler = Scheduler()
    with pytest.raises(KeyError):
        scheduler.add(1, "encode")
    with pytest.raises(KeyError):
        scheduler.adopt(2, "encode")
    assert scheduler.take_ready() == []


def test_a_job_may_wait_for_one_of_another_group() -> None:
    scheduler = Scheduler()
    scheduler.configure(Group("encode", limit=1))
    scheduler.add(1, "encode")
    scheduler.add(2, after=[Dependency(1)])
    assert scheduler.take_ready() == [1]
    scheduler.ended(1, True)
    assert scheduler.take_ready() == [2]


def test_many_queued_jobs_stay_linear() -> None:
    """A step that looks at all that wait would take this to minutes."""
    count = 50_000
    scheduler = limited_to(20)
    scheduler.configure(Group("encode", limit=20))
    began = time.process_time()
    for job in range(1, count + 1):
        scheduler.add(job, "encode" if job % 2 else "default", job % 7)
    started = 0
    while ready := scheduler.take_ready(20):
        started += len(ready)
        assert scheduler.waiting_for(count) is None or started < count
        for job in ready:
            scheduler.ended(job, True)
    assert started == count
    assert time.process_time() - began < 10


def test_many_failed_waits_stay_linear() -> None:
    count = 50_000
    scheduler = Scheduler()
    scheduler.add(1)
    began = time.process_time()
    for job in range(2, count + 1):
        scheduler.add(job, after=[Dependency(1)])
    scheduler.ended(1, False)
    told = 0
    while failed := scheduler.take_failed(100):
        told += len(failed)
        for wait in failed:
            scheduler.ended(wait.job, False)
    assert told == count - 1
    assert time.process_time() - began < 10


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 3) | st.none(),
    st.lists(st.tuples(st.sets(st.integers(0, 15), max_size=3), st.booleans()), max_size=16),
)
def test_every_job_starts_or_fails_and_the_limit_holds(
    parallel: int | None, plan: list[tuple[set[int], bool]]
) -> None:
    scheduler = limited_to(parallel)
    succeeds = {job: well for job, (_, well) in enumerate(plan, 1)}
    waits = {job: {d for d in after if 0 < d < job} for job, (after, _) in enumerate(plan, 1)}
    for job, after in waits.items():
        scheduler.add(job, after=[Dependency(d) for d in after])
    outcome: dict[int, bool] = {}
    running: list[int] = []
    while outcome.keys() != waits.keys():
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


class World(RuleBasedStateMachine):
    """The scheduler beside a model that looks at everything, in any order of what may happen."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = Scheduler()
        self.groups = {"default": Group()}
        self.newest = 0
        self.group_of: dict[int, str] = {}
        self.priority_of: dict[int, int] = {}
        self.waits: dict[int, set[int]] = {}
        """Of each queued job: those that have not ended."""
        self.fails: set[int] = set()
        """Queued jobs of which a wait has failed, not told of yet."""
        self.running: set[int] = set()
        self.passed_over: dict[str, int] = {}
        """How many jobs of other groups were taken since a group could have started one."""

    def ready(self, group: str) -> list[int]:
        """In the order in which they are to start."""
        jobs = [job for job, waits in self.waits.items() if not waits and self.group_of[job] == group]
        return sorted(set(jobs) - self.fails, key=lambda job: (-self.priority_of[job], job))

    def running_in(self, group: str) -> int:
        return sum(self.group_of[job] == group for job in self.running)

    def may_start(self, group: str) -> bool:
        _, limit, paused = self.groups[group]
        return not paused and (limit is None or self.running_in(group) < limit)

    @rule(
        name=st.sampled_from(["default", "encode", "mail"]),
        limit=st.integers(1, 3) | st.none(),
        paused=st.booleans(),
    )
    def configure(self, name: str, limit: int | None, paused: bool) -> None:
        self.groups[name] = Group(name, limit, paused)
        self.scheduler.configure(self.groups[name])
        self.passed_over.pop(name, None)

    @rule(data=st.data(), priority=st.integers(-2, 2))
    def add(self, data: st.DataObject, priority: int) -> None:
        group = data.draw(st.sampled_from(sorted(self.groups)))
        unended = sorted([*self.waits, *self.running])
        after = data.draw(st.sets(st.sampled_from(unended), max_size=2)) if unended else set()
        self.newest += 1
        self.group_of[self.newest], self.priority_of[self.newest] = group, priority
        self.waits[self.newest] = after
        self.scheduler.add(self.newest, group, priority, [Dependency(job) for job in after])

    @rule(data=st.data())
    def adopt(self, data: st.DataObject) -> None:
        group = data.draw(st.sampled_from(sorted(self.groups)))
        self.newest += 1
        self.group_of[self.newest] = group
        self.running.add(self.newest)
        self.scheduler.adopt(self.newest, group)

    @rule(at_most=st.integers(0, 4) | st.none())
    def take_ready(self, at_most: int | None) -> None:
        taken = self.scheduler.take_ready(at_most)
        for job in taken:
            group = self.group_of[job]
            assert self.may_start(group)
            assert job == self.ready(group)[0]
            for other in self.groups:
                could = other != group and self.may_start(other) and self.ready(other)
                self.passed_over[other] = self.passed_over.get(other, 0) + 1 if could else 0
                assert self.passed_over[other] < len(self.groups)
            del self.waits[job]
            self.running.add(job)
        if at_most is None or len(taken) < at_most:
            assert not any(self.may_start(group) and self.ready(group) for group in self.groups)

    @rule(at_most=st.integers(0, 2) | st.none())
    def take_failed(self, at_most: int | None) -> None:
        failed = [wait.job for wait in self.scheduler.take_failed(at_most)]
        assert failed == sorted(self.fails)[:at_most]
        for job in failed:
            self.fails.discard(job)
            self._end(job, False)

    @rule(data=st.data(), succeeded=st.booleans())
    def end(self, data: st.DataObject, succeeded: bool) -> None:
        unended = sorted([*self.waits, *self.running])
        if unended:
            job = data.draw(st.sampled_from(unended))
            self._end(job, succeeded and job in self.running)

    def _end(self, job: int, succeeded: bool) -> None:
        self.running.discard(job)
        self.waits.pop(job, None)
        self.fails.discard(job)
        self.scheduler.ended(job, succeeded)
        for waiter, waits in self.waits.items():
            if job in waits and succeeded:
                waits.discard(job)
            elif job in waits:
                self.fails.add(waiter)

    @invariant()
    def says_why(self) -> None:
        for job, waits in self.waits.items():
            text, group = self.scheduler.waiting_for(job), self.group_of[job]
            if waits:
                assert text is not None
                assert text.endswith("to succeed")
            else:
                assert (text is None) == self.may_start(group)
        assert all(self.scheduler.waiting_for(job) is None for job in self.running)


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


# ---- one entry that stands for many jobs


class Many:
    """A source of jobs: those from `first` on, at most `limit` at a time."""

    def __init__(self, first: int, count: int, limit: int) -> None:
        self.left = list(range(first, first + count))
        self.room = limit

    def __call__(self) -> int | None:
        if not self.left or not self.room:
            return None
        self.room -= 1
        return self.left.pop(0)


def test_a_source_gives_jobs_until_it_has_none_to_give() -> None:
    scheduler, many = Scheduler(), Many(100, 5, 2)
    scheduler.add(7, source=many)
    assert scheduler.take_ready() == [100, 101]
    scheduler.ended(100, True)
    assert scheduler.take_ready() == []
    many.room += 1
    scheduler.ask_again(7)
    scheduler.ask_again(7)
    assert scheduler.take_ready() == [102]


def test_the_limit_of_a_group_holds_for_a_source_too() -> None:
    scheduler, many = limited_to(2), Many(100, 9, 9)
    scheduler.add(7, source=many)
    scheduler.add(8)
    assert scheduler.take_ready() == [100, 101]
    assert scheduler.waiting_for(8) == "limit: 2 of 2 running"
    scheduler.ended(101, False)
    assert scheduler.take_ready() == [102]


def test_a_source_that_has_nothing_now_lets_others_pass() -> None:
    scheduler, many = Scheduler(), Many(100, 1, 0)
    scheduler.add(7, source=many)
    scheduler.add(8)
    assert scheduler.take_ready() == [8]
    many.room = 1
    scheduler.ask_again(7)
    assert scheduler.take_ready() == [100]


def test_a_source_takes_turns_by_priority() -> None:
    scheduler = limited_to(1)
    scheduler.add(7, source=Many(100, 2, 2))
    scheduler.add(8, priority=1)
    assert scheduler.take_ready() == [8]
    scheduler.ended(8, True)
    assert scheduler.take_ready() == [100]


def test_a_source_waits_for_other_jobs_and_fails_with_them() -> None:
    scheduler, many = Scheduler(), Many(100, 2, 1)
    scheduler.add(1)
    scheduler.add(7, after=[Dependency(1)], source=many)
    assert scheduler.take_ready() == [1]
    scheduler.ask_again(7)
    assert scheduler.take_ready() == []
    scheduler.ended(1, True)
    assert scheduler.take_ready() == [100]
    scheduler.add(2)
    scheduler.add(8, after=[Dependency(2)], source=Many(200, 1, 1))
    scheduler.ended(2, False)
    assert scheduler.take_failed() == [FailedWait(8, 2)]
    scheduler.ask_again(8)
    assert scheduler.take_ready() == []


def test_what_waits_for_a_source_waits_for_its_end() -> None:
    scheduler, many = Scheduler(), Many(100, 1, 1)
    scheduler.add(7, source=many)
    scheduler.add(8, after=[Dependency(7)])
    assert scheduler.take_ready() == [100]
    scheduler.ended(100, False)
    assert scheduler.take_ready() == []
    scheduler.ended(7, True)
    assert scheduler.take_ready() == [8]
    scheduler.ask_again(7)
    assert scheduler.take_ready() == []
