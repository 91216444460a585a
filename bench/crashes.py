"""What becomes of jobs and their output when their manager is killed or frozen: Corral beside the other tools.

SIGKILL of the manager with a job that prints a numbered line every 0.1 s, a silent one, and a pipeline of two, each under a
manager of its own, which is then started again; SIGSTOP of the manager for 5 s while a job writes 100 MB. Output counts as
kept wherever the tool keeps it, be it a file below its directory, what it showed, or what it still prints. Prints tables
in Markdown; exits 1 if Corral lost anything.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import flooding
from isolated import INSIDE, Place, enter_namespace, holders, place, read_quietly
from tools import Running, Tool, Work, find

COUNTING = str(Path(__file__).with_name("counting.sh"))
FLOODING = str(Path(__file__).with_name("flooding.py"))
START_PATIENCE = 40.0
AFTER_CRASH = 3.0
AFTER_RESTART = 5.0
FREEZE = 5.0
DRAIN_PATIENCE = 150.0
TICK = re.compile(rb"tick (\d+) (\d+)\.")
LINE = re.compile(rb"L(\d{8}) ")


def program(habit: str, token: str) -> tuple[str, ...]:
    return ("sh", COUNTING, habit, token)


WORKS: dict[str, Callable[[str], Work]] = {
    "prints": lambda token: Work((program("prints", token),)),
    "silent": lambda token: Work((program("silent", token),)),
    "pipeline": lambda token: Work((program("prints", token), program("reads", f"{token}-2"))),
}


# ---- what a job notes ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Notes:
    """What the processes of one job wrote into their own file: who they are, and how far they came."""

    starts: tuple[tuple[int, int], ...]
    """Pid and parent of each that started: more than one is a second copy."""
    ticks: int
    is_done: bool

    @classmethod
    def read(cls, path: str) -> Notes:
        lines = read_quietly(path).split(b"\n")[:-1]
        words = [line.split() for line in lines]
        starts = tuple((int(word[1]), int(word[2])) for word in words if word[0] == b"start")
        return cls(starts, sum(word[0] == b"tick" for word in words), b"done" in lines)


def kept_numbers(here: Place, pattern: re.Pattern[bytes], more: str) -> list[tuple[bytes, ...]]:
    """Every match in any file that the tool keeps, and in what it prints when asked."""
    found = [match.groups() for match in pattern.finditer(more.encode())]
    for folder, _, names in os.walk(here.folder):
        for name in names:
            if not name.startswith("token"):
                data = read_quietly(os.path.join(folder, name))
                found += [match.groups() for match in pattern.finditer(data)]
    return found


def wait_for(condition: Callable[[], bool], patience: float) -> bool:
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


# ---- SIGKILL ------------------------------------------------------------------------------------------------------


@dataclass
class Crash:
    """One job whose manager was killed."""

    kind: str
    running: Running
    trouble: str = ""
    pids: tuple[int, ...] = ()
    """Of the first copy and its parent: a tool may know the shell that it started it by."""
    at_crash: int = 0
    lives: bool = False
    printed: int = 0
    kept: int = 0
    is_known: bool = False
    copies: int = 0
    does_tell: bool = False

    @property
    def here(self) -> Place:
        return self.running.here

    @property
    def last(self) -> str:
        """The file of the process whose output is the job's."""
        return f"{self.here.token}-2" if self.kind == "pipeline" else self.here.token

    @property
    def files(self) -> list[str]:
        return [self.here.token, self.last] if self.kind == "pipeline" else [self.here.token]

    @property
    def life(self) -> str:
        return "lives on" if self.lives else "**dies**"

    @property
    def output(self) -> str:
        if self.printed == 0:
            return "–"
        return "all" if self.kept == self.printed else f"**{self.kept} of {self.printed} lines**"

    @property
    def again(self) -> str:
        """What the tool, started again, makes of it."""
        if self.is_known:
            return "known" + (", status too" if self.does_tell else ", **status not**")
        if self.copies and self.lives:
            return "**started a second time**"
        return "started anew" if self.copies else "**unknown**"


@dataclass
class Freeze:
    """One job that wrote while its manager was stopped. Lines of 100 bytes."""

    trouble: str = ""
    written: int = 0
    """While the manager was stopped."""
    was_moving: bool = False
    """Whether it still wrote in the last second of that."""
    kept: int = 0
    seconds: float = 0.0
    """From the freeze until its last line was written."""
    is_done: bool = False

    @property
    def blocks(self) -> str:
        if self.written == flooding.LINES or self.was_moving:
            return "no"
        megabytes = self.written * flooding.LINE_BYTES / 1e6
        return f"**after {megabytes:.1f} MB**" if megabytes >= 0.05 else "**at once**"

    @property
    def lost(self) -> str:
        if not self.is_done:
            return "**not done in time**"
        missing = (flooding.LINES - self.kept) * flooding.LINE_BYTES / 1e6
        return "nothing" if missing == 0 else f"**{missing:.1f} MB**"


@dataclass
class Outcome:
    tool: Tool
    version: str = ""
    crashes: list[Crash] = field(default_factory=list)
    freeze: Freeze = field(default_factory=Freeze)

    @property
    def name(self) -> str:
        return self.tool.name.split(",")[0] + (" in a terminal" if self.tool.on_terminal else "")

    @property
    def troubles(self) -> list[str]:
        found = [f"{self.tool.name}, {each.kind}: {each.trouble}" for each in self.crashes if each.trouble]
        return found + ([f"{self.tool.name}, freeze: {self.freeze.trouble}"] if self.freeze.trouble else [])

    @property
    def lost_nothing(self) -> bool:
        whole = all(
            each.lives and each.kept == each.printed and each.does_tell and not each.copies
            for each in self.crashes
        )
        return whole and not self.troubles and self.freeze.blocks == "no" and self.freeze.lost == "nothing"


def crash_all(tool: Tool, prefixes: Sequence[str], outcome: Outcome) -> None:
    with contextlib.ExitStack() as places:
        for kind, work in WORKS.items():
            here = places.enter_context(place(prefixes))
            outcome.crashes.append(Crash(kind, Running(tool, here, work(here.token))))
        outcome.version = tool.ask_version(outcome.crashes[0].here)
        for step in (start, kill_manager, look, start_again, compare, end_first, ask_status, count_output):
            for crash in outcome.crashes:
                if not crash.trouble:
                    step(crash)
            time.sleep(PAUSES.get(step, 0.0))


def start(crash: Crash) -> None:
    try:
        crash.running.start()
    except RuntimeError as error:
        crash.trouble = str(error)
        return
    if not wait_for(lambda: all(Notes.read(path).ticks > 10 for path in crash.files), START_PATIENCE):
        crash.trouble = "did not start"


def kill_manager(crash: Crash) -> None:
    crash.pids = tuple(pid for path in crash.files for pid in Notes.read(path).starts[0])
    crash.at_crash = Notes.read(crash.last).ticks
    crash.running.signal_manager(signal.SIGKILL)


def look(crash: Crash) -> None:
    """Whether all its processes still run and still count."""
    found = holders(crash.files)
    before = [Notes.read(path).ticks for path in crash.files]
    moved = wait_for(
        lambda: all(Notes.read(path).ticks > n for path, n in zip(crash.files, before, strict=True)), 1.0
    )
    crash.lives = moved and all(found.values())


def start_again(crash: Crash) -> None:
    crash.running.again()


def compare(crash: Crash) -> None:
    """Whether the tool lists the first copy's pid, and whether a second one began."""
    listed = set(re.findall(r"\d+", crash.running.listed()))
    known = {str(pid) for pid in crash.pids if pid > 1}
    crash.is_known = crash.lives and bool(listed & known)
    crash.copies = len(Notes.read(crash.here.token).starts) - 1


def end_first(crash: Crash) -> None:
    """Let the first copy end with a status that nothing else has."""
    for path in crash.files:
        with open(f"{path}.finish.{Notes.read(path).starts[0][0]}", "wb"):
            pass


def ask_status(crash: Crash) -> None:
    crash.does_tell = (
        crash.is_known and re.search(crash.running.tool.status, crash.running.listed()) is not None
    )


def count_output(crash: Crash) -> None:
    """Of the lines that the first copy printed from the crash on, those that are kept anywhere."""
    if crash.kind == "silent" or not crash.lives:
        return
    first = b"%d" % Notes.read(crash.here.token).starts[0][0]
    found = kept_numbers(crash.here, TICK, crash.running.dumped())
    numbers = {int(number) for pid, number in found if pid == first}
    # Noted once it was written, so the last may have been written and not noted.
    wanted = set(range(crash.at_crash, Notes.read(crash.last).ticks))
    crash.printed, crash.kept = len(wanted), len(wanted & numbers)


PAUSES: dict[Callable[[Crash], None], float] = {
    kill_manager: AFTER_CRASH,
    start_again: AFTER_RESTART,
    end_first: 3.0,
}


# ---- SIGSTOP ------------------------------------------------------------------------------------------------------


def freeze(tool: Tool, prefixes: Sequence[str]) -> Freeze:
    outcome = Freeze()
    with place(prefixes) as here:
        running = Running(tool, here, Work(((sys.executable, FLOODING, here.token),)))
        try:
            running.start()
        except RuntimeError as error:
            outcome.trouble = str(error)
            return outcome
        if not wait_for(lambda: bool(Notes.read(here.token).starts), START_PATIENCE):
            outcome.trouble = "did not start"
            return outcome
        time.sleep(1.0)
        write_frozen(running, outcome)
    return outcome


def write_frozen(running: Running, outcome: Freeze) -> None:
    here = running.here
    began = time.monotonic()
    running.signal_manager(signal.SIGSTOP)
    with open(f"{here.token}.go", "wb"):
        pass
    outcome.is_done = wait_for(lambda: Notes.read(here.token).is_done, FREEZE - 1)
    outcome.seconds = time.monotonic() - began
    before = Notes.read(here.token).ticks
    time.sleep(FREEZE - min(FREEZE, outcome.seconds))
    after = Notes.read(here.token).ticks
    outcome.written, outcome.was_moving = after * flooding.LINES_AT_ONCE, after > before
    running.signal_manager(signal.SIGCONT)
    if not outcome.is_done:
        outcome.is_done = wait_for(lambda: Notes.read(here.token).is_done, DRAIN_PATIENCE)
        outcome.seconds = time.monotonic() - began
    wait_for_quiet(here)
    found = kept_numbers(here, LINE, running.dumped())
    outcome.kept = len(set(found))


def wait_for_quiet(here: Place) -> None:
    """Until no file of the tool has grown for two seconds: what it had read it may still be writing."""
    deadline, size, since = time.monotonic() + DRAIN_PATIENCE, -1, time.monotonic()
    while time.monotonic() - since < 2.0 and time.monotonic() < deadline:
        now = sum(path.stat().st_size for path in Path(here.folder).rglob("*") if path.is_file())
        if now != size:
            size, since = now, time.monotonic()
        time.sleep(0.2)


# ---- tables -------------------------------------------------------------------------------------------------------


def as_markdown(outcomes: Sequence[Outcome], absent: Sequence[str]) -> str:
    lines = [
        "| SIGKILL of | one that prints | its output since | a silent one | a pipeline | its output since "
        "| started again, it finds the printing | the silent | the pipeline |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for outcome in outcomes:
        prints, silent, pipeline = outcome.crashes
        words = [f"{outcome.name} {outcome.version}", prints.life, prints.output, silent.life]
        words += [pipeline.life, pipeline.output, prints.again, silent.again, pipeline.again]
        lines.append(f"| {' | '.join(words)} |")
    lines += [f"| {name} | not installed{' |' * 8}" for name in absent]
    lines += [
        "",
        f"| SIGSTOP of, for {FREEZE:g} s | job blocks | 100 MB written after | lost |",
        "|---|---|--:|---|",
    ]
    for outcome in outcomes:
        frozen = outcome.freeze
        lines.append(f"| {outcome.name} | {frozen.blocks} | {frozen.seconds:.1f} s | {frozen.lost} |")
    return "\n".join([*lines, "", *(line for outcome in outcomes for line in outcome.troubles)]).rstrip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--with", dest="prefixes", action="append", default=[], metavar="PREFIX", help="where tools are"
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="TOOL", help="measure this one (may be repeated)"
    )
    parser.add_argument(INSIDE, action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if not given.inside:
        enter_namespace(sys.argv[1:])
    present, absent = find(given.only, given.prefixes)
    outcomes = []
    # Those that differ in how they stop only are one here.
    different = {(tool.program, tool.on_terminal): tool for tool in reversed(present)}
    for tool in reversed(different.values()):
        print(f"{tool.name} …", file=sys.stderr, flush=True)
        outcomes.append(Outcome(tool))
        crash_all(tool, given.prefixes, outcomes[-1])
        outcomes[-1].freeze = freeze(tool, given.prefixes)
    print(as_markdown(outcomes, absent))
    return int(any(outcome.tool.name == "corral" and not outcome.lost_nothing for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
