"""`corral each` against xargs, GNU parallel and task-spooler; and batches of 100,000 and a million inputs: memory, first start, ps."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from pathlib import Path

import common
from common import Options, Report, Row, Verdict
from terminal import OnTerminal

SMALL, LARGE = 1_000, 10_000
MANY, VERY_MANY = 100_000, 1_000_000
WATCHED = 20_000
MEGABYTE = 1e6


def lines(count: int) -> bytes:
    return b"".join(b"%d\n" % number for number in range(count))


def with_corral(home: str, count: int) -> None:
    argv = [common.CORRAL, "each", "-w", "-q", "-j2", "true"]
    subprocess.run(argv, input=lines(count), check=True, env=common.environment(home))


def with_xargs(count: int) -> None:
    subprocess.run(["xargs", "-n1", "-P2", "true"], input=lines(count), check=True)


def with_parallel(count: int) -> None:
    subprocess.run(["parallel", "-j2", "true"], input=lines(count), check=True, stdout=subprocess.DEVNULL)


def with_task_spooler(folder: Path, count: int) -> None:
    with common.task_spooler(folder, 2) as own:
        for number in range(count):
            argv = ["tsp", "true", str(number)]
            subprocess.run(argv, check=True, env=own, stdout=subprocess.DEVNULL)
        subprocess.run(["tsp", "-w"], check=True, env=own)


def others(options: Options, count: int) -> list[Row]:
    """Those that take several times as long: one round each."""
    rows = []
    if common.is_installed("parallel"):
        rows.append(Row(f"{count:,}: GNU parallel -j2", [common.timed(lambda: with_parallel(count))]))
    else:
        rows.append(common.missing("GNU parallel"))
    if common.is_installed("tsp"):
        with common.workspace(options) as folder:
            seconds = common.timed(lambda: with_task_spooler(folder, count))
        rows.append(Row(f"{count:,}: task-spooler", [seconds]))
    else:
        rows.append(common.missing("task-spooler"))
    return rows


def against_xargs(options: Options, report: Report, count: int) -> None:
    with common.home(options) as home:
        subprocess.run(
            [common.CORRAL, "ps"], check=True, env=common.environment(home), stdout=subprocess.DEVNULL
        )
        with_corral(home, 10)
        pid = common.daemon_pid(home)
        cpu = common.cpu_seconds(pid)
        rounds = options.rounds(5 if count == SMALL else 3)
        found = common.interleaved(
            rounds, {"corral": lambda: with_corral(home, count), "xargs": lambda: with_xargs(count)}
        )
        used = (common.cpu_seconds(pid) - cpu) / (rounds + 1)
    report.rows += [
        Row(f"{count:,}: corral each -j2", found["corral"]),
        Row(f"{count:,}: of it CPU of the daemon", [used]),
        Row(f"{count:,}: xargs -n1 -P2", found["xargs"]),
    ]
    ratio = Row("", common.ratios(found["corral"], found["xargs"])).median
    report.verdicts.append(Verdict(f"{count:,} × true against xargs", ratio, 1.6))


def with_many_inputs(options: Options, report: Report, count: int) -> None:
    """A batch of so many inputs, of which one runs: how soon, how much memory, and what ps takes."""
    with common.home(options) as home:
        environment = common.environment(home)
        subprocess.run([common.CORRAL, "run", "-w", "true"], check=True, env=environment)
        pid = common.daemon_pid(home)
        few = [ps(home) for _ in range(options.rounds(9))]
        before = common.resident_bytes(pid)
        mark = Path(home, "first")
        command = f"test -e {mark} || date +%s.%N > {mark}; : {{}}; exec sleep 36000"
        began, clock = time.perf_counter(), time.time()
        feed = subprocess.Popen(
            [common.CORRAL, "each", "-j1", "--shell", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=environment,
        )
        feed.communicate(lines(count))
        report.rows.append(Row(f"{count:,} inputs: accepted in", [time.perf_counter() - began]))
        report.rows.append(Row(f"{count:,} inputs: first job after", [float(mark.read_text()) - clock]))
        grown = (common.resident_bytes(pid) - before) / MEGABYTE
        many = [ps(home) for _ in range(options.rounds(9))]
        ratio = Row("", many).median / Row("", few).median
        report.verdicts += [
            Verdict(f"{count:,} inputs: daemon's memory grew by", grown, 10, "MB"),
            Verdict(f"{count:,} inputs: ps against none", ratio, 1.3),
        ]
        subprocess.run(
            [common.CORRAL, "stop", "--all"], check=True, env=environment, stdout=subprocess.DEVNULL
        )


def ps(home: str) -> float:
    return common.timed(lambda: common.run_quietly([common.CORRAL, "ps"], home))


def cost_of_ended(options: Options, report: Report) -> None:
    """What an ended job takes of the disk, and of the journal."""
    with common.home(options) as home:
        count = LARGE if not options.quick else SMALL
        with_corral(home, 1)
        journal, folder = os.path.getsize(f"{home}/corral.db"), Path(home, "jobs")
        with_corral(home, count)
        files = sum(len(names) for _, _, names in os.walk(folder))
        bytes_of = sum(path.stat().st_blocks * 512 for path in folder.glob("2/*"))
        grown = os.path.getsize(f"{home}/corral.db") - journal
        report.rows.append(Row("files below jobs/, of both batches", [float(files)], ""))
        report.verdicts.append(
            Verdict("an ended job takes, files and journal", (bytes_of + grown) / count, 300, "B")
        )


async def watched(options: Options, report: Report) -> None:
    """The share of a core that a dashboard takes while a batch of 20,000 runs, with as many ends as there are."""
    with common.home(options) as home:
        environment = common.environment(home)
        subprocess.run([common.CORRAL, "each", "-j2", "sh", "-c", "sleep 0.02", "_"], input=lines(WATCHED), check=True,
                       env=environment, stdout=subprocess.DEVNULL)  # fmt: skip
        with OnTerminal([common.CORRAL], home) as dashboard:
            dashboard.seconds_until(b"sleep")
            await asyncio.sleep(2)
            pid = dashboard.pid
            before, began = common.cpu_seconds(pid), time.perf_counter()
            await asyncio.sleep(options.seconds(20))
            share = 100 * (common.cpu_seconds(pid) - before) / (time.perf_counter() - began)
        listed = subprocess.run(
            [common.CORRAL, "ps", "--json"], check=True, capture_output=True, env=environment
        )
        rate = json.loads(listed.stdout)[0]["batch_progress"]["per_second"]
        report.rows.append(Row("ends a second meanwhile", [rate], ""))
        report.verdicts.append(Verdict("a dashboard that watches a batch of 20,000", share, 10, "%"))
        subprocess.run(
            [common.CORRAL, "stop", "--all"], check=True, env=environment, stdout=subprocess.DEVNULL
        )


async def run(options: Options) -> Report:
    report = Report(
        "Batches", "`corral each -w` with a warm daemon, output files included; rounds interleaved"
    )
    for count in (SMALL,) if options.quick else (SMALL, LARGE):
        await asyncio.to_thread(against_xargs, options, report, count)
    report.rows += await asyncio.to_thread(others, options, SMALL)
    for count in (MANY,) if options.quick else (MANY, VERY_MANY):
        await asyncio.to_thread(with_many_inputs, options, report, count)
    await asyncio.to_thread(cost_of_ended, options, report)
    await watched(options, report)
    return report


if __name__ == "__main__":
    common.main(__doc__, run)
