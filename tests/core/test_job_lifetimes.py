"""Which jobs may have born a process: never fewer than have."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime

import pytest
from msgspec import structs

from corral.jobs.managed_job import ManagedJob, ManagedStage
from corral.lifecycle.state_machine import new_life
from corral.model.spec import Command, JobSpec, Pipeline, Surroundings
from corral.platform.host.procfs import CLOCK_TICKS
from corral.platform.inspect.fdinfo import children_of
from corral.platform.process import boot_id
from corral.platform.process.identity import ProcessIdentity
from corral.processes import job_lifetimes
from corral.processes.job_lifetimes import FORGOTTEN, JobLifetimes
from corral.processes.local_run import StageHandle
from until import python, running

SPEC = JobSpec(Pipeline((Command(("sleep", "9")),)), "sleep 9")


def at(seconds: float) -> ProcessIdentity:
    return ProcessIdentity(os.getpid(), round(seconds * CLOCK_TICKS))


def job(number: int, began: float | None) -> ManagedJob:
    handle = StageHandle(identity=None if began is None else at(began))
    stage = ManagedStage(1, "sleep", ("sleep", "9"), held=handle)
    where = Surroundings({}, "/", 0o022)
    return ManagedJob(number, SPEC, where, datetime.now(UTC), new_life(SPEC, ["sleep"]), [stage])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(boot_id, "clock", lambda: now[0])
    others = children_of(os.getpid())  # such as the daemon that other tests share
    monkeypatch.setattr(
        job_lifetimes, "children_of", lambda pid: [each for each in children_of(pid) if each not in others]
    )
    return now


class Hands:
    """Jobs in hand, and what is known of the lifetimes of processes."""

    def __init__(self) -> None:
        self.jobs: dict[int, ManagedJob] = {}
        self.lifetimes = JobLifetimes(self.jobs)

    def of(self, born: float, *jobs: ManagedJob) -> list[int]:
        self.jobs.clear()
        self.jobs.update((each.id, each) for each in jobs)
        return self.lifetimes.of(at(born))


def test_jobs_in_hand_have_what_was_born_after_they_began(clock: list[float]) -> None:
    hands = Hands()
    clock[0] = 1010.0
    jobs = [job(1, 1001.0), job(2, 1005.0), job(3, 1009.0), job(4, None)]
    assert hands.of(1004.0, *jobs) == [1]
    assert hands.of(1005.0, *jobs) == [1, 2]
    assert hands.of(1000.5, *jobs) == []


def test_what_is_over_is_remembered(clock: list[float]) -> None:
    hands = Hands()
    clock[0] = 1005.0
    hands.lifetimes.note_over(job(1, 1001.0))
    hands.lifetimes.note_over(job(2, None))
    clock[0] = 1010.0
    assert hands.of(1004.9, job(3, 1002.0)) == [3, 1]
    assert hands.of(1006.0, job(3, 1002.0)) == [3]


def test_what_was_born_before_anybody_looked_may_be_of_others(clock: list[float]) -> None:
    assert Hands().of(999.0, job(1, 990.0)) == [FORGOTTEN, 1]


def test_what_was_forgotten_is_not_ruled_out(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_lifetimes, "KEPT", 1)
    hands = Hands()
    for number in (1, 2):
        clock[0] += 5
        hands.lifetimes.note_over(job(number, clock[0] - 1))
    clock[0] += 5
    assert hands.of(1004.5, job(3, 1004.0)) == [FORGOTTEN, 3]
    assert hands.of(1009.5, job(3, 1004.0)) == [3, 2]


def test_of_a_job_that_an_earlier_daemon_saw_ending_nobody_knows_the_beginning(clock: list[float]) -> None:
    hands = Hands()
    clock[0] = 1010.0
    ended = job(1, None)
    ended.life = structs.replace(ended.life, state="succeeded")
    assert hands.of(1009.0, ended, job(2, 1001.0)) == [1, 2]


@pytest.mark.parametrize("stranger", ["as init", "an inherited child"])
def test_where_orphans_of_others_come_too_nothing_is_concluded(
    clock: list[float], monkeypatch: pytest.MonkeyPatch, stranger: str
) -> None:
    if stranger == "as init":
        hands = Hands()
        monkeypatch.setattr(os, "getpid", lambda: 1)
        clock[0] = 1010.0
        assert hands.of(1004.0, job(1, 1001.0)) == [FORGOTTEN, 1]
        return
    with running(*python("input()"), stdin=subprocess.PIPE):
        hands = Hands()
        clock[0] = 1010.0
        assert hands.of(1004.0, job(1, 1001.0)) == [FORGOTTEN, 1]
    assert hands.of(1004.0, job(1, 1001.0)) == [1]
