"""What is still alive after each tool's own "stop this job": ten programs that are hard to end, each under a tool of its own.

Every tool that is installed, or found below `--with PREFIX` (a venv, an `npm install --prefix`), runs the same programs,
with its defaults. A process is found by a file that all of its program keep open. Prints a table in Markdown; exits 1 if
anything outlived Corral's stop. Everything that a tool leaves behind is ended.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from isolated import INSIDE, Place, enter_namespace, holders, place, read_quietly
from misbehaving import HABITS
from tools import Running, Tool, Work, find

PROGRAM = str(Path(__file__).with_name("misbehaving.py"))
START_PATIENCE = 40.0


@dataclass
class Case:
    """One program under one tool. `gone`: seconds from the request to stop until nothing of it was left."""

    number: int
    running: Running
    trouble: str = ""
    asked: float = 0.0
    request: subprocess.Popen[bytes] | None = None
    early: int = 0
    late: int = 0
    gone: float | None = None

    @property
    def here(self) -> Place:
        return self.running.here


@dataclass
class Outcome:
    """What one tool did."""

    tool: Tool
    version: str = ""
    cases: list[Case] = field(default_factory=list)
    trouble: str = ""

    def alive(self, late: bool) -> str:
        numbers = [str(case.number) for case in self.cases if (case.late if late else case.early)]
        return " ".join(numbers) or "none"

    @property
    def longest(self) -> str:
        """The longest that anybody had to wait for a program that did go."""
        times = [case.gone for case in self.cases if case.gone is not None]
        return f"{max(times):.1f} s" if times else "–"

    @property
    def claims(self) -> str:
        """For which of those that live on after the last look the stop command had ended with 0."""
        asked = [case for case in self.cases if case.request is not None]
        if not asked:
            return "says nothing"
        told = [case for case in asked if case.late and case.request and case.request.poll() == 0]
        return f"ended with 0 for {' '.join(str(case.number) for case in told)}" if told else ""


def measure(tool: Tool, prefixes: Sequence[str], looks: tuple[float, float]) -> Outcome:
    outcome = Outcome(tool)
    with contextlib.ExitStack() as places:
        for number, habit in enumerate(HABITS, 1):
            here = places.enter_context(place(prefixes))
            work = Work(((sys.executable, PROGRAM, habit, here.token),))
            outcome.cases.append(Case(number, Running(tool, here, work)))
        outcome.version = tool.ask_version(outcome.cases[0].here)
        for case in outcome.cases:
            start(case)
        wait_until_ready(outcome.cases)
        for case in outcome.cases:
            ask(case)
        watch([case for case in outcome.cases if not case.trouble], looks)
    outcome.trouble = "; ".join(f"{case.number}: {case.trouble}" for case in outcome.cases if case.trouble)
    return outcome


def start(case: Case) -> None:
    try:
        case.running.start()
    except RuntimeError as error:
        case.trouble = str(error)


def wait_until_ready(cases: Sequence[Case]) -> None:
    """Until each program stands, as it says itself; one that does not is reported, never counted as ended."""
    deadline = time.monotonic() + START_PATIENCE
    waiting = [case for case in cases if not case.trouble]
    while waiting and time.monotonic() < deadline:
        time.sleep(0.1)
        waiting = [case for case in waiting if b"ready\n" not in read_quietly(case.here.token)]
    for case in waiting:
        case.trouble = "did not start"
    # The fifth says so just before it stops itself; a screen wants to be painted before it takes keys.
    time.sleep(1.0)


def ask(case: Case) -> None:
    if case.trouble:
        return
    if not holders([case.here.token])[case.here.token]:
        case.trouble = "ended before it was asked to"
        return
    case.asked = time.monotonic()
    case.request = case.running.stop()


def watch(cases: Sequence[Case], looks: tuple[float, float]) -> None:
    """Until all are gone for a second, or the last look."""
    first, last = looks
    began = max((case.asked for case in cases), default=0.0)
    quiet_since = None
    while True:
        found = holders(case.here.token for case in cases)
        now = time.monotonic()
        for case in cases:
            note(case, len(found[case.here.token]), now - case.asked, first)
        if any(found.values()):
            quiet_since = None
        elif quiet_since is None:
            quiet_since = now
        elif now - quiet_since > 1.0:
            return
        if now - began > last:
            return
        time.sleep(0.1)


def note(case: Case, living: int, seconds: float, first: float) -> None:
    case.late = living
    if seconds <= first:
        case.early = living
    if living:
        case.gone = None
    elif case.gone is None:
        case.gone = seconds


def as_markdown(outcomes: Sequence[Outcome], absent: Sequence[str], looks: tuple[float, float]) -> str:
    first, last = looks
    lines = [" · ".join(f"{number} {habit}" for number, habit in enumerate(HABITS, 1)), ""]
    lines += [
        f"| tool | its stop | alive after {first:g} s | alive after {last:g} s | the others were gone within | the stop command |",
        "|---|---|---|---|--:|---|",
    ]
    for outcome in outcomes:
        words = [
            f"{outcome.tool.name} {outcome.version}",
            f"`{outcome.tool.stop_words}`",
            outcome.alive(late=False),
            outcome.alive(late=True),
            outcome.longest,
            outcome.claims,
        ]
        lines.append(f"| {' | '.join(words)} |")
    lines += [f"| {name} | not installed | | | | |" for name in absent]
    lines += ["", *(f"{each.tool.name}: {each.trouble}" for each in outcomes if each.trouble)]
    return "\n".join(lines).rstrip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--with", dest="prefixes", action="append", default=[], metavar="PREFIX", help="where tools are"
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="TOOL", help="measure this one (may be repeated)"
    )
    parser.add_argument(
        "--looks", type=float, nargs=2, default=[10.0, 40.0], metavar="SECONDS", help="when to look"
    )
    parser.add_argument(INSIDE, action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if not given.inside:
        enter_namespace(sys.argv[1:])
    looks = (given.looks[0], given.looks[1])
    outcomes = []
    present, absent = find(given.only, given.prefixes)
    for tool in present:
        print(f"{tool.name} …", file=sys.stderr, flush=True)
        outcomes.append(measure(tool, given.prefixes, looks))
    print(as_markdown(outcomes, absent, looks))
    return int(
        any(outcome.tool.name == "corral" and outcome.alive(late=False) != "none" for outcome in outcomes)
    )


if __name__ == "__main__":
    sys.exit(main())
