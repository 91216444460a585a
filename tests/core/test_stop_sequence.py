"""The stop sequences among themselves: one that goes wrong holds up no other."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime

import pytest

from corral.jobs.managed_job import ManagedJob
from corral.lifecycle.state_machine import new_life
from corral.model.reports import Survivor
from corral.model.spec import Command, JobSpec, Pipeline, Surroundings
from corral.platform.host.procfs import Stat
from corral.platform.process.identity import ProcessIdentity
from corral.platform.process.signalling import Signaller
from corral.processes import stop_sequence
from corral.processes.reaping import ChildEnd
from corral.processes.stop_sequence import LocalStop, StopSequences, Target, report_on
from corral.processes.unmarked_claims import Seen


def job(number: int) -> ManagedJob:
    spec = JobSpec(Pipeline((Command(("true",)),)), "true")
    return ManagedJob(number, spec, Surroundings({}, "/", 0), datetime.now(UTC), new_life(spec, ["true"]), [])


class NoProcesses:
    """A process_scan that finds nothing."""

    has_marks = True

    def take(self, jobs: Collection[ManagedJob]) -> dict[int, list[Seen]]:
        return {}

    def lookalikes(self, jobs: Collection[ManagedJob], found: object) -> dict[int, list[Stat]]:
        return {}


class FaultyOwner:
    """A manager that fails at the end of job 1."""

    def __init__(self) -> None:
        self.emptied: list[int] = []

    def reap(self) -> None: ...

    def note_stops(self) -> None: ...

    def end_of(self, identity: ProcessIdentity) -> ChildEnd | None: ...

    def signal_sent(self, stop: LocalStop, signal: str) -> None: ...

    def survivors_found(self, stop: LocalStop, text: str) -> None: ...

    def unended(self) -> Collection[ManagedJob]:
        return ()

    def tree_emptied(self, stop: LocalStop) -> None:
        self.emptied.append(stop.job.id)
        if stop.job.id == 1:
            raise KeyError("removed meanwhile")


async def test_a_fault_at_the_end_of_one_stop_is_said_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    faults: list[str] = []
    monkeypatch.setattr(stop_sequence, "log_fault", lambda where, error: faults.append(f"{where}: {error}"))
    monkeypatch.setattr(stop_sequence, "_GIVEN_UP_PAUSE", 0.01)
    owner = FaultyOwner()
    stopper = StopSequences(owner, NoProcesses(), Signaller(77), "/a home")  # type: ignore[arg-type]
    stops = [stopper.begin(job(number), "TERM", 5.0) for number in (1, 2)]
    async with asyncio.timeout(20):
        await asyncio.gather(*(stopper.outcome(stop.job) for stop in stops))
    assert all(stop.is_done for stop in stops)
    assert owner.emptied == [1, 2]
    assert faults == ["the stop sequences: 'removed meanwhile'"]


class LateOwner(FaultyOwner):
    """A manager for whom a child ends just after it reaped."""

    reaps = 0

    def reap(self) -> None:
        self.reaps += 1

    def end_of(self, identity: ProcessIdentity) -> ChildEnd | None:
        return ChildEnd(9, None, 0.0) if self.reaps > 1 else None


async def test_what_ends_during_a_look_is_told_by_its_own_status() -> None:
    stopper = StopSequences(LateOwner(), NoProcesses(), Signaller(77), "/a home")  # type: ignore[arg-type]
    stop = stopper.begin(job(2), "TERM", 5.0)
    gone = Target(ProcessIdentity(1 << 30, 1), "python", 1, "leader", signals=["TERM"])
    stop.targets[gone.identity] = gone
    async with asyncio.timeout(20):
        await stopper.outcome(stop.job)
    assert [process.ended_by for process in stop.report().processes] == ["exit 9"]


def survivor_of(monkeypatch: pytest.MonkeyPatch, wchan: bytes | None, **target: object) -> Survivor:
    """What is said of a process that is left, with what /proc says of where it is."""
    monkeypatch.setattr(
        stop_sequence, "read_file", lambda path: wchan if path == "/proc/4711/wchan" else None
    )
    left = Target(ProcessIdentity(4711, 1), "dd", 2, "leader", **target)  # type: ignore[arg-type]
    stop = LocalStop(job(1), "TERM", 5.0, None, 0.0, {left.identity: left}, is_killing=True, gave_up=True)
    (survivor,) = report_on(stop).survivors
    assert (survivor.pid, survivor.name, survivor.stage) == (4711, "dd", 2)
    return survivor


def test_a_survivor_is_named_with_where_it_is_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    found = survivor_of(monkeypatch, b"nfs_wait_bit_killable", state="D", signals=["TERM", "KILL"])
    assert (found.state, found.blocked_in) == ("D", "nfs_wait_bit_killable")
    assert found.reason == "blocked in the kernel (state D) in nfs_wait_bit_killable; KILL is waiting for it"
    found = survivor_of(monkeypatch, b"0", state="D", signals=["KILL"])
    assert (found.blocked_in, found.reason) == (
        None,
        "blocked in the kernel (state D); KILL is waiting for it",
    )
    found = survivor_of(monkeypatch, None, state="S", refusal="Operation not permitted")
    assert (found.blocked_in, found.reason) == (None, "Operation not permitted")
