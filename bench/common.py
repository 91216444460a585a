"""What every benchmark shares: a home of its own, interleaved rounds, clocks of other processes, one small table.

A benchmark prints its table and exits 0 where its promise holds, else 1. `--json` prints the same for `run_all.py`,
`--quick` takes fewer rounds and a shorter look. Everything is kept below a temporary directory, which goes at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

CORRAL = str(Path(sys.executable).with_name("corral"))
MEMORY_DISK = "/dev/shm"
_WANTED_BYTES = 2 << 30


@dataclass
class Row:
    """One contender: what it took in each round, or why it was left out."""

    name: str
    values: list[float] = field(default_factory=list)
    unit: str = "s"
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.values)


@dataclass
class Verdict:
    """One promise beside what was measured. `at_most` bounds `figure`."""

    what: str
    figure: float
    at_most: float
    unit: str = "×"

    @property
    def holds(self) -> bool:
        return self.figure <= self.at_most


@dataclass
class Report:
    """A benchmark's outcome."""

    title: str
    how: str
    rows: list[Row] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return all(verdict.holds for verdict in self.verdicts)


@dataclass(frozen=True)
class Options:
    """`quick`: fewer rounds. `folder`: where homes and files go."""

    quick: bool
    folder: str
    as_json: bool

    def rounds(self, usual: int) -> int:
        return max(2, usual // 3) if self.quick else usual

    def seconds(self, usual: float) -> float:
        return usual / 4 if self.quick else usual


def options(description: str | None) -> Options:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, shorter looks")
    parser.add_argument("--tmp", default=_default_folder(), help="where homes and files go (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON, for run_all.py")
    given = parser.parse_args()
    return Options(given.quick, given.tmp, given.json)


def _default_folder() -> str:
    """Memory where there is room: a disk's own state (journal, freed inodes, write-back) is not what is compared."""
    if os.path.isdir(MEMORY_DISK) and shutil.disk_usage(MEMORY_DISK).free > 2 * _WANTED_BYTES:
        return MEMORY_DISK
    return tempfile.gettempdir()


def main(description: str | None, run: Callable[[Options], Coroutine[Any, Any, Report]]) -> None:
    """Run a benchmark as a program."""
    chosen = options(description)
    os.environ.update(environment())
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    report = asyncio.run(run(chosen))
    if chosen.as_json:
        print(json.dumps({**asdict(report), "holds": report.holds}))
    else:
        print(as_text(report))
    sys.exit(0 if report.holds else 1)


def environment(home: str | None = None) -> dict[str, str]:
    """Ours, with byte code written as an installed package has it, and without what is special to this shell."""
    dropped = {"PYTHONDONTWRITEBYTECODE", "CORRAL_HOME", "CORRAL_JOB_ID", "CORRAL_STAGE"}
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return kept if home is None else {**kept, "CORRAL_HOME": home}


# ---- text ---------------------------------------------------------------------------------------------------------


def as_text(report: Report) -> str:
    lines = [report.title, f"  {report.how}", ""]
    width = max((len(row.name) for row in report.rows), default=0)
    lines.extend(f"  {row.name:<{width}}  {shown(row)}" for row in report.rows)
    lines.append("")
    width = max((len(verdict.what) for verdict in report.verdicts), default=0)
    for verdict in report.verdicts:
        word = "holds" if verdict.holds else "MISSED"
        lines.append(
            f"  {verdict.what:<{width}}  {number(verdict.figure)} {verdict.unit}"
            f"   promised ≤ {verdict.at_most:g} {verdict.unit}   {word}"
        )
    return "\n".join([*lines, *(f"  {note}" for note in report.notes)])


def shown(row: Row) -> str:
    """`1.23 s (1.20–1.31, 5 rounds)`, or its note alone."""
    if not row.values:
        return row.note
    least, most = min(row.values), max(row.values)
    spread = f" ({number(least)}–{number(most)}, {len(row.values)} rounds)" if len(row.values) > 1 else ""
    return f"{number(row.median)} {row.unit}{spread}{'  ' + row.note if row.note else ''}"


def number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


# ---- measuring ----------------------------------------------------------------------------------------------------


def timed(call: Callable[[], object]) -> float:
    """Wall seconds of one call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def run_quietly(argv: Sequence[str], home: str | None = None, **keywords: Any) -> None:
    """One command to its end, its output dropped; an exit status other than 0 is an error."""
    subprocess.run(
        argv,
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=environment(home),
        **keywords,
    )


def interleaved(rounds: int, contenders: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """One warm-up each, then every round all of them, so that what the machine does meanwhile hits all alike."""
    for call in contenders.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            seconds[name].append(timed(call))
    return seconds


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Round by round."""
    return [one / other for one, other in zip(ours, theirs, strict=True)]


def cpu_seconds(pid: int) -> float:
    """All CPU time of a process, by its own clock (clock_getcpuclockid(3): ~pid << 3 | 2)."""
    return time.clock_gettime_ns((~pid << 3) | 2) / 1e9


def resident_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def task_spooler(folder: Path, slots: int) -> Iterator[dict[str, str]]:
    """The environment of a task-spooler of our own: its server ends afterwards, its output files are in `folder`."""
    own = {**environment(), "TS_SOCKET": str(folder / "tsp"), "TMPDIR": str(folder), "TS_SLOTS": str(slots)}
    try:
        yield own
    finally:
        subprocess.run(["tsp", "-K"], check=False, env=own, stderr=subprocess.DEVNULL)


def is_installed(tool: str) -> bool:
    return shutil.which(tool) is not None


def missing(tool: str) -> Row:
    return Row(tool, note="not installed")


# ---- places -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def workspace(options: Options) -> Iterator[Path]:
    """A directory that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="corral-bench-", dir=options.folder))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def home(options: Options) -> Iterator[str]:
    """A CORRAL_HOME of our own; its daemon and all its jobs are ended afterwards."""
    with workspace(options) as folder:
        path = str(folder / "home")
        try:
            yield path
        finally:
            run_quietly([CORRAL, "daemon", "stop", "--jobs", "stop"], path)


def daemon_pid(path: str) -> int:
    """Of the daemon that serves this home."""
    raw = subprocess.run(
        [CORRAL, "daemon", "status", "--json"], check=True, capture_output=True, env=environment(path)
    ).stdout
    return int(json.loads(raw)["pid"])
