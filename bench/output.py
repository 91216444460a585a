"""One job's output, half a gigabyte of lines: the time against the same command with `> file`; every byte kept.

And once more with the newest 64 MiB kept, which the daemon sees to while the job writes; and once through the relay of
`--output pipe`, whose own memory and the time that it costs a short job are told, too.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Literal

import common
import psutil
from common import Options, Report, Row, Verdict

import corral
from corral.output import relay_program

LINES = "57000000"
ARGV = ["seq", LINES]
USUAL_CAP = 1 << 30
CAP = 64 << 20


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


def are_equal(one: Path, other: Path, skipped: int = 0) -> bool:
    """Whether they are from offset `skipped` on."""
    return subprocess.run(["cmp", "-s", "-i", str(skipped), one, other], check=False).returncode == 0


def rotated(names: list[str], number: int) -> list[str]:
    """Each round begins with another one, and every second runs backwards: nobody always comes after the same."""
    place = number % len(names)
    turned = names[place:] + names[:place]
    return turned if number % 2 else turned[::-1]


async def as_a_job(
    manager: corral.JobManager, plain: Path, cap: int, output: Literal["file", "pipe"] = "file"
) -> float:
    """Seconds to its end. What is kept of its output is compared to `plain`."""
    began = asyncio.get_running_loop().time()
    handle = await manager.start(ARGV, max_output=cap, output=output)
    job = await handle.wait()
    seconds = asyncio.get_running_loop().time() - began
    kept = Path(manager.session.home.stdout(job.id))
    size, dropped = kept.stat().st_size, job.stdout_dropped_bytes
    if (size > cap) != (dropped > 0) or not are_equal(kept, plain, dropped):
        raise SystemExit(f"the output differs: {size} bytes, {dropped} of them dropped")
    await handle.remove()
    return seconds


async def seconds_of_true(manager: corral.JobManager, output: Literal["file", "pipe"]) -> float:
    """The median time of `true` from its start to its end, as the client sees it."""
    seconds = []
    for _ in range(20):
        began = asyncio.get_running_loop().time()
        await (await manager.start(["true"], output=output)).wait()
        seconds.append(asyncio.get_running_loop().time() - began)
    return median(seconds)


async def memory_of_relay(manager: corral.JobManager) -> float:
    """What a relay that waits has for itself, MB: Python's code is shared with every other Python."""
    handle = await manager.start(["sleep", "100"], output="pipe")
    folder = manager.session.home.job(handle.id).encode()
    found = None
    while found is None:
        await asyncio.sleep(0.05)
        found = next((pid for pid in psutil.pids() if _is_relay(pid, folder)), None)
    private = psutil.Process(found).memory_full_info().uss / 1e6
    await handle.kill()
    return private


def _is_relay(pid: int, folder: bytes) -> bool:
    try:
        is_ready = Path(f"/proc/{pid}/comm").read_bytes() == relay_program.NAME + b"\n"
        return is_ready and folder in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


async def run(options: Options) -> Report:
    rounds = options.rounds(9)
    with common.home(options) as home, common.workspace(options) as folder:
        plain, other = folder / "plain", folder / "other"
        await asyncio.to_thread(to_file, plain)
        async with corral.connect(home) as manager:
            daemon = manager.session.hello.pid  # type: ignore[union-attr]
            size, before = plain.stat().st_size, 0

            async def bare() -> float:
                seconds = await asyncio.to_thread(common.timed, lambda: to_file(other))
                other.unlink()  # as a job's output goes with the job: each contender finds the same pages free
                return seconds

            contenders: dict[str, Callable[[], Awaitable[float]]] = {
                "bare": bare,
                "ours": lambda: as_a_job(manager, plain, USUAL_CAP),
                "capped": lambda: as_a_job(manager, plain, CAP),
                "relayed": lambda: as_a_job(manager, plain, USUAL_CAP, "pipe"),
            }
            taken: dict[str, list[float]] = {name: [] for name in contenders}
            for number in range(rounds + 1):
                for name in rotated(list(contenders), number):
                    seconds = await contenders[name]()
                    if number:  # the first round only warms up
                        taken[name].append(seconds)
                if number == 0:
                    before = common.resident_bytes(daemon)
            grown = (common.resident_bytes(daemon) - before) / 1e6
            short = [await seconds_of_true(manager, output) for output in ("file", "pipe")]
            private = await memory_of_relay(manager)
    report = Report(
        f"{size / 1e6:,.0f} MB of lines from one job",
        "`seq` to its end, seen by the client; each output compared byte for byte",
    )
    report.rows += [
        Row("seq > file", taken["bare"]),
        Row("as a job", taken["ours"]),
        Row("as a job, 64 MiB kept", taken["capped"]),
        Row("as a job, through the relay", taken["relayed"]),
        Row("`true` as a job", [short[0]]),
        Row("`true` as a job, through the relay", [short[1]]),
    ]
    report.rows += await asyncio.to_thread(others, options)
    against = {name: Row("", common.ratios(taken[name], taken["bare"])).median for name in taken}
    report.verdicts += [
        Verdict("as a job against > file", against["ours"], 1.02),
        Verdict("64 MiB kept against > file", against["capped"], 1.02),
        Verdict("through the relay against > file", against["relayed"], 1.1),
        Verdict("a relay's own memory", private, 5.0, "MB"),
        Verdict("daemon's memory grew by", max(0.0, grown), 2.0, "MB"),
    ]
    return report


if __name__ == "__main__":
    common.main(__doc__, run)
