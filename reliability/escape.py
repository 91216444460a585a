"""Every habit of a process that tries to get away, ended in every way: `python -m reliability escape --times 10`.

Each process of a job holds a lock (see holding.py). Once the command that ends it has returned, nothing may carry the
job's mark, nobody may hold the lock, and the report has to name whoever held it before, with its stage and its end.
Exits with 1 if anything was left, or not named.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import corral
from corral.model.home import Home
from corral.platform.process import mark
from corral.platform.process.identity import identify, is_alive
from e2e.command import Corral
from managers import nonce_of
from reliability.holding import Token, zoo_argv
from until import until

GRACE = 0.3
READY_SECONDS = 40.0


class Habit(NamedTuple):
    """A program of the zoo. `is_steady`: who holds its lock stays the same, so the report has to name each."""

    name: str
    program: str
    arguments: tuple[str, ...] = ()
    is_steady: bool = True
    ends_itself: bool = False
    has_siblings: bool = False
    seconds: float = 1.0
    """Until it is in place, at most, for the time limit that ends it."""


HABITS = (
    Habit("ignores TERM, INT, HUP", "ignores_many"),
    Habit("parent died first", "orphans"),
    Habit("own session", "own_session"),
    Habit("own process group", "own_group"),
    Habit("forks twice", "double_fork"),
    Habit("clears environment", "clears_environment"),
    Habit("renames itself", "renames_itself"),
    Habit("stopped by SIGSTOP", "stops_itself"),
    Habit("sits in vfork", "sits_in_vfork"),
    Habit("first thread ended", "first_thread_ends"),
    Habit("another user (as root)", "changes_user"),
    Habit("siblings are gone", "ignores_many", has_siblings=True),
    Habit("ended, child lives on", "double_fork", ("x",), ends_itself=True),
    Habit("forks while it is ended", "forks_while_killed", is_steady=False, seconds=3.0),
    Habit("fork bomb of 200", "fork_bomb", is_steady=False, seconds=4.0),
    Habit("all of these at once", "does_everything", is_steady=False, seconds=8.0),
)


class Outcome(NamedTuple):
    """One job ended. `wrong` names what was left or not told."""

    seconds: float
    processes: int
    wrong: tuple[str, ...]


class Lost(Exception):
    """The habit was not in place when the way began."""


# ---- the ways -----------------------------------------------------------------------------------------------------


class Bench:
    """One home, the command, and the tokens."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "work").mkdir()
        self.corral = Corral(directory / "home", directory / "work")
        self.tokens = 0

    def token(self) -> Token:
        self.tokens += 1
        return Token(self.directory / f"token.{self.tokens}")

    def started(self, habit: Habit, token: Token, *options: str) -> str:
        """The id of a job whose habit is in place."""
        argv = token.held_by(zoo_argv(habit.program, *habit.arguments))
        words = [_line(argv)] if habit.has_siblings else ["--", *argv]
        job = str(self.corral.ok("run", "--grace", f"{GRACE:g}", *options, *words))
        self.await_ready(Home(str(self.corral.home)), habit, job)
        return job

    @staticmethod
    def await_ready(home: Home, habit: Habit, job: str) -> None:
        path = Path(home.stdout(job))
        until(
            lambda: path.exists() and path.read_bytes().startswith(b"ready"),
            habit.name,
            seconds=READY_SECONDS,
        )

    def held(self, habit: Habit, token: Token, job: str) -> list[int]:
        return _held(Home(str(self.corral.home)), habit, token, job)

    def report(self, *words: str) -> dict[str, Any]:
        ended = self.corral(*words)
        if ended.returncode != 0:
            raise AssertionError(f"{words}: {ended}")
        (report,) = json.loads(ended.stdout)
        return dict(report)

    def check(
        self, habit: Habit, job: str, token: Token, held: list[int], report: dict[str, Any]
    ) -> list[str]:
        return _check(nonce_of(Home(str(self.corral.home))), habit, int(job), token, held, report)


def _held(home: Home, habit: Habit, token: Token, job: str) -> list[int]:
    """Who has to be in the report: whoever holds the lock; of a job that ends by itself the one that it leaves behind."""
    if habit.ends_itself:
        return [int(Path(home.stdout(job)).read_bytes().split()[1])]
    return token.holders()


def _line(argv: list[str]) -> str:
    """A pipeline whose first stages have ended when it is in place."""
    return "true | true | " + " ".join(argv)


def by_command(*words: str) -> Callable[[Bench, Habit], Outcome]:
    def end(bench: Bench, habit: Habit) -> Outcome:
        token = bench.token()
        job = bench.started(habit, token)
        held = bench.held(habit, token, job)
        began = time.monotonic()
        report = bench.report(*words, "--json", job)
        seconds = time.monotonic() - began
        return Outcome(seconds, len(report["processes"]), tuple(bench.check(habit, job, token, held, report)))

    return end


def by_timeout(bench: Bench, habit: Habit) -> Outcome:
    """A job that ends by itself has no time limit; `--leftovers stop` takes its place."""
    token = bench.token()
    limit = ("--leftovers", "stop") if habit.ends_itself else ("--timeout", f"{habit.seconds:g}")
    try:
        job = bench.started(habit, token, *limit)
    except AssertionError:
        raise Lost(habit.name) from None
    held = bench.held(habit, token, job)
    until(lambda: _is_over(bench, job), f"{habit.name} to be ended by {limit[0]}")
    wrong = []
    if token.is_held():
        wrong.append("the lock is held after the end")
    report = bench.report("stop", "--json", job)
    if not habit.ends_itself and report["state"] != "timed_out":
        wrong.append(f"its state is {report['state']}")
    if habit.ends_itself and report["state"] != "succeeded":
        wrong.append(f"its state is {report['state']}")
    wrong += bench.check(habit, job, token, held, report)
    return Outcome(report["seconds"], len(report["processes"]), tuple(wrong))


def _is_over(bench: Bench, job: str) -> bool:
    (seen,) = json.loads(bench.corral.ok("ps", "--json", job))
    if seen["on_leftovers"] == "stop":
        shown = json.loads(bench.corral.ok("show", "--json", job))
        return shown["stop"] is not None and not seen["leftovers"]
    return seen["ended"] is not None


def by_daemon_stop(bench: Bench, habit: Habit) -> Outcome:
    token = bench.token()
    job = bench.started(habit, token)
    held = bench.held(habit, token, job)
    began = time.monotonic()
    report = bench.report("daemon", "stop", "--jobs", "stop", "--json")
    seconds = time.monotonic() - began
    return Outcome(seconds, len(report["processes"]), tuple(bench.check(habit, job, token, held, report)))


def by_leaving(bench: Bench, habit: Habit) -> Outcome:
    return asyncio.run(_leave(bench, habit))


async def _leave(bench: Bench, habit: Habit) -> Outcome:
    token = bench.token()
    manager = corral.open()
    async with manager:
        argv = token.held_by(zoo_argv(habit.program, *habit.arguments))
        handle = await manager.start(_line(argv) if habit.has_siblings else argv, stop_grace=GRACE)
        await asyncio.to_thread(bench.await_ready, manager.session.home, habit, handle.id)
        home = manager.session.home
        nonce, held = nonce_of(home), _held(home, habit, token, handle.id)
        began = time.monotonic()
    seconds = time.monotonic() - began
    (report,) = (_as_json(report) for report in manager.reports)
    wrong = _check(nonce, habit, int(handle.id), token, held, report)
    return Outcome(seconds, len(report["processes"]), tuple(wrong))


def _as_json(report: Any) -> dict[str, Any]:
    import msgspec

    return dict(msgspec.json.decode(msgspec.json.encode(report)))


WAYS: dict[str, Callable[[Bench, Habit], Outcome]] = {
    "stop": by_command("stop"),
    "kill": by_command("kill"),
    "timeout": by_timeout,
    "daemon stop": by_daemon_stop,
    "leaving": by_leaving,
}


# ---- the proof ----------------------------------------------------------------------------------------------------


def _check(
    nonce: int, habit: Habit, job: int, token: Token, held: list[int], report: dict[str, Any]
) -> list[str]:
    """What is wrong after the end of that job; called at once, without any patience."""
    wrong = []
    if token.is_held():
        wrong.append(f"the lock is held by {token.holders()}")
    marked = [found.pid for found in mark.scan(nonce) if found.job == job and _lives(found.pid)]
    if marked:
        wrong.append(f"marked and alive: {marked}")
    if report["survivors"]:
        wrong.append(f"survivors: {report['survivors']}")
    stage = 3 if habit.has_siblings else 1
    named = {process["pid"]: process for process in report["processes"]}
    wrong += [
        f"not told how it ended: {process}"
        for process in named.values()
        if process["ended_by"] is None or process["stage"] != stage or process["seconds"] is None
    ]
    if habit.is_steady and not set(held) <= named.keys():
        wrong.append(f"not named: {sorted(set(held) - named.keys())} of {sorted(held)}")
    if not held:
        wrong.append("nobody held the lock")
    return wrong


def _lives(pid: int) -> bool:
    identity = identify(pid)
    return identity is not None and is_alive(identity)


# ---- the table ----------------------------------------------------------------------------------------------------


def run(habits: list[Habit], ways: list[str], times: int, *, is_quiet: bool = False) -> int:
    """How many jobs left something or were not told in full. Prints a line a habit."""
    wrong = total = 0
    slowest = (0.0, "")
    if not is_quiet:
        print(f"{'habit':<26}" + "".join(f"{way:>16}" for way in ways))
    for habit in habits:
        cells = []
        for way in ways:
            outcomes = [_once(habit, way) for _ in range(times)]
            total += len(outcomes)
            wrong += sum(bool(outcome.wrong) for outcome in outcomes)
            seconds = sorted(outcome.seconds for outcome in outcomes)
            slowest = max(slowest, (seconds[-1], f"{habit.name}, {way}"))
            cells.append(f"{seconds[len(seconds) // 2]:.2f}/{seconds[-1]:.2f} s")
            for outcome in outcomes:
                for what in outcome.wrong:
                    print(f"WRONG {habit.name}, {way}: {what}", file=sys.stderr)
        if not is_quiet:
            print(f"{habit.name:<26}" + "".join(f"{cell:>16}" for cell in cells), flush=True)
    print(
        f"{total} jobs ended ({len(habits)} habits, {len(ways)} ways, {times} times each; median/slowest above)"
    )
    print(f"something left, or not told: {wrong}; slowest {slowest[0]:.2f} s ({slowest[1]})")
    return wrong


def _once(habit: Habit, way: str) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="corral-escape-") as directory:
        bench = Bench(Path(directory))
        try:
            for _ in range(3):
                with suppress(Lost):
                    return WAYS[way](bench, habit)
                # It took longer than its time limit on this machine now.
                habit = habit._replace(seconds=2 * habit.seconds)
            return Outcome(0.0, 0, ("it was never in place before its time limit",))
        finally:
            bench.corral("daemon", "stop", "--jobs", "stop")


def possible(habits: tuple[Habit, ...]) -> list[Habit]:
    """Those that can be had here: only root may become somebody else."""
    return [habit for habit in habits if habit.program != "changes_user" or os.geteuid() == 0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=10, help="repetitions of each habit in each way")
    parser.add_argument("--habit", action="append", help="only habits with this in their name")
    parser.add_argument("--way", action="append", choices=list(WAYS), help="only these ways")
    asked = parser.parse_args()
    habits = [
        habit
        for habit in possible(HABITS)
        if asked.habit is None or any(part in habit.name for part in asked.habit)
    ]
    return 1 if run(habits, asked.way or list(WAYS), asked.times) else 0


if __name__ == "__main__":
    sys.exit(main())
