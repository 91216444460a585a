"""The zoo of waits: real programs, half of them stuck in a known way and half only looking so.

All run at once under one daemon. For each stands what Corral has to say: its health, and of the root of its waits the
kind and the program.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from corral.service import protocol as p
from corral.service.client import Client
from corral.system.procfs import HAS_PROCFS
from corral.values.reports import Diagnosis
from corral.values.spec import InteractiveInput, JobInput, NullInput, StdinSource
from e2e.daemons import Daemons, job, start
from until import ZOO, until

pytestmark = pytest.mark.skipif(not HAS_PROCFS, reason="waits are read from /proc")

STUCK_AFTER = 3.0
PROGRAMS = f"{sys.executable} {os.path.join(ZOO, 'waits.py')}"


class Case(NamedTuple):
    """A line to run, and of what Corral says of it the kind of the root and the name of its process."""

    line: str
    kind: str
    root: str = "python"
    stdin: StdinSource = NullInput()
    at_once: bool = False
    """A ring that can never be resolved: stuck long before `stuck_after`."""


def zoo(name: str) -> str:
    return f"{PROGRAMS} {name}"


def stuck_cases(locked: Path) -> dict[str, Case]:
    typed = InteractiveInput()
    cases = {
        "asks": Case("cat", "pipe_read", "cat", typed),
        "asks by select": Case(zoo("polls_its_input"), "pipe_read", stdin=typed),
        "pipeline that asks": Case("cat | sort | head -n 1", "pipe_read", "cat", typed),
        "pipeline behind a lock": Case(f"{zoo('wants_lock')} {locked} | cat", "file_lock"),
        "nobody reads": Case(f"yes | {sys.executable} {os.path.join(ZOO, 'never_reads.py')}", "timer"),
        "nobody reads, twice": Case(f"yes | cat | {zoo('opens_fifo_to_read')}", "pipe_read"),
        "wants_lock": Case(f"{zoo('wants_lock')} {locked}", "file_lock"),
        "wants_record_lock": Case(f"{zoo('wants_record_lock')} {locked}", "file_lock"),
        "shell that waits for a child that hangs": Case(f"sh -c '{zoo('locks_twice')}; :'", "futex"),
    }
    plain = {
        "tty_input": ["reads_terminal"],
        "suspended": ["reads_terminal_from_background", "sets_terminal_from_background", "stops_itself"],
        "pipe_read": ["opens_fifo_to_read"],
        "pipe_write": ["opens_fifo_to_write"],
        "futex": ["threads_wait_for_each_other", "waits_for_a_child_that_hangs"],
        "socket_read": ["reads_silent_socket", "polls_silent_socket"],
        "socket_write": ["sends_to_who_does_not_read"],
        "socket_connect": ["connects_in_vain", "connects_in_vain_to_unix_socket"],
    }
    rings = {
        "pipe_read": ["reads_its_own_pipe", "waits_for_a_child_that_reads_from_it"],
        "pipe_write": ["fills_its_own_pipe", "talks_to_a_child_that_talks_back"],
        "file_lock": ["waits_for_a_lock_of_its_parent", "locks_two_files_crosswise"],
        "futex": ["mutexes_crosswise", "locks_twice", "asks_a_child_that_does_not_answer"],
    }
    cases |= {name: Case(zoo(name), kind) for kind, names in plain.items() for name in names}
    cases |= {name: Case(zoo(name), kind, at_once=True) for kind, names in rings.items() for name in names}
    for name in ("waits_for_a_child_that_reads_from_it", "talks_to_a_child_that_talks_back"):
        cases[name] = cases[name]._replace(root="cat")
    cases["waits_in_vfork"] = Case(zoo("waits_in_vfork"), "pipe_read", "sh")
    return cases


def fine_cases() -> dict[str, Case]:
    kinds = {
        "running": ["computes", "reads_large_file", "has_a_grandchild_that_works", "builds"],
        "timer": ["sleeps_and_works", "waits_for_an_event_with_a_limit", "reads_timerfd"],
        "socket_accept": [
            "accepts",
            "accepts_with_idle_workers",
            "serves_in_another_thread",
            "waits_for_a_server_of_its_own",
        ],
        "event_loop": ["runs_an_event_loop", "polls_two_sockets", "wakes_now_and_then"],
        "unknown": ["waits_for_a_signal"],
    }
    cases = {name: Case(zoo(name), kind) for kind, names in kinds.items() for name in names}
    cases["waits_for_a_lock_that_a_child_will_give_back"] = Case(
        zoo("waits_for_a_lock_that_a_child_will_give_back"), "timer"
    )
    return cases | {
        "sleep": Case("sleep 1000", "timer", "sleep"),
        "clock at the head": Case("sleep 1000 | cat", "timer", "sleep"),
        "shell that sleeps": Case("sh -c 'while :; do sleep 1000; done'", "timer", "sleep"),
        "slow last stage": Case(f"yes | {zoo('reads_slowly')}", "timer"),
        "fed by a clock": Case("cat", "pipe_read", "cat", JobInput("@")),
    }


@pytest.fixture(scope="module")
def daemons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemons]:
    daemons = Daemons(tmp_path_factory.mktemp("zoo") / "home")
    yield daemons
    daemons.end()


@contextlib.contextmanager
def locked_file(path: Path) -> Iterator[None]:
    """Hold both kinds of lock on a file."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        fcntl.lockf(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def begin(client: Client, cases: dict[str, Case]) -> dict[str, str]:
    """Start all; the id of each."""
    return {
        name: start(client, case.line, stdin=case.stdin, stuck_after=STUCK_AFTER)[0]
        for name, case in cases.items()
    }


def why(client: Client, job_id: str) -> Diagnosis:
    return client.call(p.AskWhy(job=job_id), timeout=20)


def told(diagnosis: Diagnosis) -> tuple[Any, ...]:
    """Health, kind and program of the root."""
    root = diagnosis.root
    names = {wait.pid: wait.name for wait in diagnosis.waits}
    if root is None:
        return diagnosis.health, None, None
    return diagnosis.health, root.kind, names.get(root.pid or 0, "?").rstrip("0123456789.")


def test_what_hangs_is_stuck_for_the_right_reason(daemons, tmp_path):
    cases = stuck_cases(tmp_path / "locked")
    with locked_file(tmp_path / "locked"), daemons.client() as client:
        ids = begin(client, cases)
        wrong: dict[str, Any] = {}

        def all_are_right() -> bool:
            wrong.clear()
            for name, case in cases.items():
                diagnosis = why(client, ids[name])
                if told(diagnosis) != ("stuck", case.kind, case.root):
                    wrong[name] = told(diagnosis), diagnosis.summary
            return not wrong

        with contextlib.suppress(AssertionError):
            until(all_are_right, "every case to be stuck", seconds=20)
        assert not wrong
        client.call(p.StopJobs(all=True, grace=0.0), timeout=30)


def test_rings_are_stuck_at_once(daemons, tmp_path):
    rings = {name: case for name, case in stuck_cases(tmp_path / "locked").items() if case.at_once}
    with daemons.client() as client:
        ids = {name: start(client, case.line, stuck_after=3600.0)[0] for name, case in rings.items()}
        for name, job_id in ids.items():
            until(lambda job_id=job_id: job(client, job_id).health == "stuck", f"{name} to be stuck")
            assert why(client, job_id).summary
        client.call(p.StopJobs(all=True, grace=0.0), timeout=30)


def test_what_only_looks_so_is_never_stuck(daemons):
    cases = fine_cases()
    with daemons.client() as client:
        ids = begin(client, cases)
        paused = start(client, "sleep 1000", stuck_after=STUCK_AFTER)[0]
        client.call(p.PauseJobs(ids=(paused,)), timeout=20)
        probe = start(client, zoo("locks_twice"), stuck_after=2 * STUCK_AFTER)[0]
        seen: dict[str, set[Any]] = {name: set() for name in (*cases, "paused")}

        def probe_is_stuck() -> bool:
            """Until it is, all the others have been still for longer than their limit."""
            for name, job_id in {**ids, "paused": paused}.items():
                seen[name].add(job(client, job_id).health)
            return job(client, probe).health == "stuck"

        until(probe_is_stuck, "the probe to be stuck")
        assert {name: found for name, found in seen.items() if "stuck" in found} == {}
        assert {
            name: told(why(client, ids[name]))[1:]
            for name, case in cases.items()
            if case.kind not in ("running",) and told(why(client, ids[name]))[1:] != (case.kind, case.root)
        } == {}
        client.call(p.StopJobs(all=True, grace=0.0), timeout=30)
