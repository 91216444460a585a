"""The zoo of waits: real programs, half of them stuck in a known way and half only looking so.

For each stands what Corral has to say: its health, and of the root of its waits the kind and the program.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from corral.client.blocking import Client
from corral.model.reports import Diagnosis
from corral.model.spec import InteractiveInput, JobInput, NullInput, StdinSource
from corral.protocol import requests as p
from e2e.daemons import start

ZOO = Path(__file__).parent
PYTHON = sys.executable if os.access(sys.executable, os.X_OK) else shutil.which("python3", path=os.defpath)
"""One that this user may run."""
NEVER = 3600.0
MOVES_FOR = 5.0
"""Seconds in which what goes on by itself comes back to the wait that it is there for."""
TYPED = InteractiveInput()


class Case(NamedTuple):
    """Something to run, and of what Corral says of it the kind of the root and the name of its process."""

    line: str | list[str]
    kind: str
    root: str = "python"
    stdin: StdinSource = NullInput()
    at_once: bool = False
    """A ring that can never be resolved: stuck long before `stuck_after`."""
    polls: bool = False
    """It looks round now and then, so its CPU clock never stands still."""
    pty: bool = False


class Surroundings(NamedTuple):
    """What programs of the zoo hang on."""

    locked: str
    """A file on which somebody else has both kinds of lock."""
    fifo: str
    """A FIFO that nobody ever opens for writing."""
    other_fifo: str
    """One that nobody ever opens for reading."""
    silent_port: int
    """Where a server of 127.0.0.1 accepts, by its kernel, and never says a word."""
    sleeping_port: int
    """Where one accepts, and answers later."""
    restless_port: int
    """Where one accepts, and wakes ten times a second."""
    full_port: int
    """Where one does not accept."""


@contextlib.contextmanager
def surroundings(folder: Path) -> Iterator[Surroundings]:
    """Made in `folder`, for as long as the block lasts."""
    with contextlib.ExitStack() as stack:
        descriptor = os.open(folder / "locked", os.O_RDWR | os.O_CREAT, 0o600)
        stack.callback(os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        fcntl.lockf(descriptor, fcntl.LOCK_EX)
        os.mkfifo(folder / "fifo")
        os.mkfifo(folder / "other fifo")
        silent_port = stack.enter_context(_server("pauses"))
        sleeping_port = stack.enter_context(_server("sleeps"))
        restless_port = stack.enter_context(_server("looks_round"))
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            # One more than the kernel takes into a queue of none (listen(2)).
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        yield Surroundings(
            str(folder / "locked"),
            str(folder / "fifo"),
            str(folder / "other fifo"),
            silent_port,
            sleeping_port,
            restless_port,
            full.getsockname()[1],
        )


@contextlib.contextmanager
def _server(does: str) -> Iterator[int]:
    """The port of one in a process of its own: of who moves, as we do, it is not known whether it will answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        port = listening.getsockname()[1]
        argv = [sys.executable, "-S", "-E", str(ZOO / "relays.py"), does, str(listening.fileno())]
        server = subprocess.Popen(argv, pass_fds=[listening.fileno()])
    with server:
        try:
            yield port
        finally:
            server.kill()


def _waits(name: str) -> str:
    return f"{PYTHON} -S -E {ZOO / 'waits.py'} {name}"


def _watchers(name: str) -> str:
    return f"{PYTHON} -S -E {ZOO / 'watchers.py'} {name}"


def _relays(name: str, *more: object) -> str:
    return " ".join(map(str, (PYTHON, "-S", "-E", ZOO / "relays.py", name, *more)))


def _shell(script: str, shell: str = "sh") -> list[str]:
    return [shell, "-c", script]


def _present(cases: dict[str, Case]) -> dict[str, Case]:
    """Those whose program this machine has; its name is the first word of theirs."""
    return {name: case for name, case in cases.items() if shutil.which(name.split()[0].rstrip(":"))}


# ---- stuck --------------------------------------------------------------------------------------------------------


def stuck_cases(around: Surroundings) -> dict[str, Case]:
    """Everything that will never go on."""
    locked = around.locked
    cases = {
        "asks": Case("cat", "pipe_read", "cat", TYPED),
        "asks by select": Case(_waits("polls_its_input"), "pipe_read", stdin=TYPED),
        "pipeline that asks": Case("cat | sort | head -n 1", "pipe_read", "cat", TYPED),
        "pipeline behind a lock": Case(f"{_waits('wants_lock')} {locked} | cat", "file_lock"),
        "nobody reads": Case(f"yes | {PYTHON} {ZOO / 'never_reads.py'}", "timer"),
        "nobody reads, twice": Case(f"yes | cat | {_waits('opens_fifo_to_read')}", "pipe_read"),
        "wants_lock": Case(f"{_waits('wants_lock')} {locked}", "file_lock"),
        "wants_record_lock": Case(f"{_waits('wants_record_lock')} {locked}", "file_lock"),
        "tries_a_lock": Case(f"{_waits('tries_a_lock')} {locked}", "file_lock", polls=True),
        "shell that waits for a child that hangs": Case(_shell(f"{_waits('locks_twice')}; :"), "futex"),
        "waits_in_vfork": Case(_waits("waits_in_vfork"), "pipe_read", "sh"),
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
    cases |= {name: Case(_waits(name), kind) for kind, names in plain.items() for name in names}
    cases |= {name: Case(_waits(name), kind, at_once=True) for kind, names in rings.items() for name in names}
    for name in ("waits_for_a_child_that_reads_from_it", "talks_to_a_child_that_talks_back"):
        cases[name] = cases[name]._replace(root="cat")
    return cases | _roundabout() | _behind_others() | _tools_that_hang(around)


def _behind_others() -> dict[str, Case]:
    kinds = {
        "suspended": [
            "asks_a_stopped_server",
            "asks_a_stopped_server_by_path",
            "sends_to_a_stopped_server",
            "asks_through_a_relay",
        ],
        "socket_accept": ["waits_for_the_end_of_a_pipe"],
    }
    return {name: Case(_relays(name), kind) for kind, names in kinds.items() for name in names}


def _roundabout() -> dict[str, Case]:
    kinds = {
        "pipe_read": [
            "watches_children_that_hang",
            "polls_children_that_hang",
            "watches_a_child_by_pidfd",
            "hears_of_its_child_by_signalfd",
            "hears_of_its_child_by_signal",
            "awaits_a_child_in_an_event_loop",
            "waits_for_a_semaphore_of_a_child_that_hangs",
            "looks_round_for_a_child_that_hangs",
            "waits_for_a_child_with_a_limit",
        ],
        "futex": ["awaits_workers_that_hang"],
        "socket_read": [
            "asks_a_silent_server_in_an_event_loop",
            "looks_round_at_a_silent_server",
            "asks_by_datagram",
        ],
        "timer": ["sends_to_a_child_that_sleeps"],
        "suspended": ["waits_for_a_stopped_child"],
    }
    cases = {name: Case(_watchers(name), kind) for kind, names in kinds.items() for name in names}
    for name in (
        "looks_round_for_a_child_that_hangs",
        "looks_round_at_a_silent_server",
        "waits_for_a_child_with_a_limit",
    ):
        cases[name] = cases[name]._replace(polls=True)
    return cases


def _tools_that_hang(around: Surroundings) -> dict[str, Case]:
    """Real programs: each that this machine has."""
    fifo, locked, silent = around.fifo, around.locked, around.silent_port
    return _present(
        {
            "dd: reads a FIFO": Case(["dd", f"if={fifo}", "of=/dev/null"], "pipe_read", "dd"),
            "tee: writes a FIFO": Case(["tee", around.other_fifo], "pipe_write", "tee"),
            "flock: wants a lock": Case(["flock", locked, "true"], "file_lock", "flock"),
            "timeout: of a child": Case(["timeout", "1000", "cat", fifo], "pipe_read", "cat"),
            "xargs: children": Case(
                _shell(f"echo 1 2 | xargs -n 1 -P 2 sh -c 'cat {fifo}; :'"), "pipe_read", "cat"
            ),
            "make: children": Case(
                _shell(f"printf 'all: a b\\na b:\\n\\tcat {fifo}\\n' | make -s -j 2 -f -"), "pipe_read", "cat"
            ),
            "bash: coprocess": Case(
                _shell("coproc cat; read x <&${COPROC[0]}", "bash"), "pipe_read", "cat", at_once=True
            ),
            "bash: process substitution": Case(_shell(f"cat <(cat {fifo})", "bash"), "pipe_read", "cat"),
            "bash: wait": Case(_shell(f"cat {fifo} & wait", "bash"), "pipe_read", "cat"),
            "bash: asks": Case(_shell("read -p 'Sure? ' x", "bash"), "tty_input", "bash", pty=True),
            "awk: reads a command": Case(
                ["awk", f'BEGIN {{ while (("cat {fifo}" | getline l) > 0); }}'], "pipe_read", "cat"
            ),
            "script: asks": Case(
                ["script", "-qc", "sh -c 'read x'", "/dev/null"], "tty_input", "sh", stdin=TYPED
            ),
            "script: asks on the job's terminal": Case(
                ["script", "-qc", "sh -c 'read x'", "/dev/null"], "tty_input", "sh", pty=True
            ),
            "curl: silent server": Case(
                ["curl", "-s", f"http://127.0.0.1:{silent}/"], "socket_read", "curl", polls=True
            ),
            "curl: full queue": Case(
                ["curl", "-s", f"http://127.0.0.1:{around.full_port}/"], "socket_connect", "curl", polls=True
            ),
        }
    )


# ---- fine ---------------------------------------------------------------------------------------------------------


def fine_cases(around: Surroundings) -> dict[str, Case]:
    """What only looks so. A kind of `running` is not looked at: it is what a moment shows."""
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
    roundabout = {
        "running": ["hears_little_by_socket", "touches_memory_now_and_then"],
        "timer": [
            "watches_children_of_which_one_sleeps",
            "awaits_workers_that_sleep",
            "waits_for_a_semaphore_of_a_child_that_sleeps",
            "feeds_a_child_now_and_then",
            "watches_a_clock",
            "watches_its_wakers",
        ],
        "socket_accept": [
            "forks_servers",
            "looks_round_for_a_server_of_its_own",
            "serves_datagrams",
            "serves_datagrams_by_path",
        ],
        "event_loop": [
            "watches_clients_that_say_nothing",
            "watches_several_servers",
            "hears_the_kernel",
            "watches_files",
        ],
    }
    cases = {name: Case(_waits(name), kind) for kind, names in kinds.items() for name in names}
    cases |= {name: Case(_watchers(name), kind) for kind, names in roundabout.items() for name in names}
    name = "waits_for_a_lock_that_a_child_will_give_back"
    cases[name] = Case(_waits(name), "timer")
    cases["asks one that sleeps"] = Case(_relays("asks", around.sleeping_port), "socket_read")
    cases["asks one that looks round"] = Case(_relays("asks", around.restless_port), "socket_read")
    name = "hears_datagrams_at_a_high_port"
    cases[name] = Case(_relays(name), "socket_accept")
    name = "watches_the_terminal_for_a_time"
    cases[name] = Case(_relays(name), "tty_input", pty=True)
    return cases | _lines_that_look_so() | _tools_that_look_so(around)


def _lines_that_look_so() -> dict[str, Case]:
    return {
        "sleep": Case("sleep 1000", "timer", "sleep"),
        "clock at the head": Case("sleep 1000 | cat", "timer", "sleep"),
        "shell that sleeps": Case(_shell("while :; do sleep 1000; done"), "timer", "sleep"),
        "slow last stage": Case(f"yes | {_waits('reads_slowly')}", "timer"),
        "fed by a clock": Case("cat", "pipe_read", "cat", JobInput("@")),
        "server into a log": Case(f"{_waits('accepts')} | cat", "socket_accept"),
        "event loop into a log": Case(f"{_watchers('watches_clients_that_say_nothing')} | cat", "event_loop"),
    }


def _tools_that_look_so(around: Surroundings) -> dict[str, Case]:
    silent_child = f"cat {around.fifo}"
    return _present(
        {
            "tail: follows a file": Case(["tail", "-f", around.locked], "event_loop", "tail"),
            "tail: into grep": Case(
                f"tail -f {around.locked} | grep --line-buffered x", "event_loop", "tail"
            ),
            "timeout: of a sleeper": Case(["timeout", "1000", "sleep", "900"], "timer", "sleep"),
            "bash: waits for a sleeper": Case(_shell("sleep 1000 & wait", "bash"), "timer", "sleep"),
            "bash: prints now and then": Case(
                "bash -c 'while sleep 0.5; do echo x; done' | grep --line-buffered y", "running"
            ),
            "xargs: one of two sleeps": Case(
                _shell(
                    f"printf '%s\\0' 'sleep 1000' '{silent_child}' | xargs -0 -n 1 -P 2 sh -c 'eval \"$0\"; :'"
                ),
                "timer",
                "sleep",
            ),
            "make: one of two sleeps": Case(
                _shell(
                    f"printf 'all: a b\\na:\\n\\tsleep 1000\\nb:\\n\\t{silent_child}\\n' | make -s -j 2 -f -"
                ),
                "timer",
                "sleep",
            ),
            "script: of a sleeper": Case(
                ["script", "-qc", "sleep 1000", "/dev/null"], "timer", "sleep", stdin=TYPED
            ),
        }
    )


# ---- running them -------------------------------------------------------------------------------------------------


def begin(client: Client, cases: dict[str, Case], stuck_after: float) -> dict[str, str]:
    """Start all; the id of each. What is a ring has to be found long before its time."""
    return {
        name: start(
            client,
            case.line,
            stdin=case.stdin,
            pty=case.pty,
            stuck_after=NEVER if case.at_once else stuck_after,
        )[0]
        for name, case in cases.items()
    }


def healths(client: Client) -> dict[str, str | None]:
    """How each job does now, by its id."""
    return {one.id: one.health for one in client.call(p.ListJobs(), timeout=30).jobs}


def why(client: Client, job_id: str) -> Diagnosis:
    return client.call(p.AskWhy(job=job_id), timeout=20)


def told(diagnosis: Diagnosis) -> tuple[Any, ...]:
    """Health, kind and program of the root."""
    root = diagnosis.root
    names = {wait.pid: wait.name for wait in diagnosis.waits}
    if root is None:
        return diagnosis.health, None, None
    name = names.get(root.pid or 0, "?")
    is_python = name == os.path.basename(str(PYTHON))[:15]  # as the kernel calls it (PR_SET_NAME(2const))
    return diagnosis.health, root.kind, "python" if is_python else name.rstrip("0123456789.")


def shows(client: Client, job_id: str, case: Case) -> bool:
    """Whether the root of one that goes on is as it should be: at once, or when it is asked again, for it may move."""
    if case.kind == "running":
        return True
    deadline = time.monotonic() + MOVES_FOR
    while told(why(client, job_id))[1:] != (case.kind, case.root):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
