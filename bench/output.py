"""One job's output, half a gigabyte of lines: the time against the same command with `> file`; every byte kept."""

from __future__ import annotations

import asyncio
import subprocess
from functools import partial
from pathlib import Path

import common
from common import Options, Report, Row, Verdict

import corral

LINES = "57000000"
ARGV = ["seq", LINES]


def to_file(path: Path) -> None:
    with path.open("wb") as file:
        subprocess.run(ARGV, check=True, stdout=file)


def through_pv(path: Path) -> None:
    subprocess.run(["sh", "-c", f"seq {LINES} | pv -q > '{path}'"], check=True)


def with_task_spooler(folder: Path) -> None:
    with common.task_spooler(folder, 1) as own:
        subprocess.run(["tsp", *ARGV], check=True, env=own, stdout=subprocess.DEVNULL)
        subprocess.run(["tsp", "-w"], check=True, env=own)


def others(options: Options) -> list[Row]:
    """What else keeps a command's output, where it is installed."""
    rows = []
    for tool, name, call in (
        ("pv", "seq | pv > file", lambda folder: through_pv(folder / "pv")),
        ("tsp", "task-spooler", with_task_spooler),
    ):
        if not common.is_installed(tool):
            rows.append(common.missing(name))
            continue
        seconds = []
        for _ in range(options.rounds(4)):
            with common.workspace(options) as folder:
                seconds.append(common.timed(partial(call, folder)))
        rows.append(Row(name, seconds))
    return rows


def are_equal(one: Path, other: Path) -> bool:
    return subprocess.run(["cmp", "-s", one, other], check=False).returncode == 0


async def run(options: Options) -> Report:
    rounds = options.rounds(9)
    with common.home(options) as home, common.workspace(options) as folder:
        plain = folder / "plain"
        async with corral.connect(home) as manager:
            daemon = manager.session.hello.pid  # type: ignore[union-attr]
            bare, ours, before = [], [], 0
            for number in range(rounds + 1):
                # Emptying the last round's file would count as writing.
                plain.unlink(missing_ok=True)
                bare.append(await asyncio.to_thread(common.timed, lambda: to_file(plain)))
                began = asyncio.get_running_loop().time()
                handle = await manager.start(ARGV)
                job = await handle.wait()
                ours.append(asyncio.get_running_loop().time() - began)
                kept = Path(manager.session.home.stdout(job.id))
                if not are_equal(kept, plain):
                    raise SystemExit(f"the output differs: {kept.stat().st_size} bytes kept")
                size = kept.stat().st_size
                await handle.remove()
                if number == 0:
                    before = common.resident_bytes(daemon)
            grown = (common.resident_bytes(daemon) - before) / 1e6
    report = Report(
        f"{size / 1e6:,.0f} MB of lines from one job",
        "`seq` to its end, seen by the client; each output compared byte for byte",
    )
    pairs = common.ratios(ours[1:], bare[1:])
    report.rows += [Row("seq > file", bare[1:]), Row("as a job", ours[1:])]
    report.rows += await asyncio.to_thread(others, options)
    report.verdicts += [
        Verdict("as a job against > file", Row("", pairs).median, 1.02),
        Verdict("daemon's memory grew by", max(0.0, grown), 2.0, "MB"),
    ]
    return report


if __name__ == "__main__":
    common.main(__doc__, run)
