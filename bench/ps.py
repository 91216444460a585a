"""`corral ps` with a daemon up, to a pipe and to a terminal, with 10 and 1,000 jobs: against `python -c pass`."""

from __future__ import annotations

import asyncio
import os
import pty
import subprocess
import sys
from functools import partial

import common
from common import Options, Report, Row, Verdict

import corral

PROMISES = {10: 2.5, 1000: 8.0}


def to_pipe(home: str) -> None:
    subprocess.run([common.CORRAL, "ps"], check=True, stdout=subprocess.PIPE, env=common.environment(home))


def to_terminal(home: str) -> None:
    """To a pty, which is read at once, as a terminal does."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [common.CORRAL, "ps"], stdin=slave, stdout=slave, stderr=slave, env=common.environment(home)
    )
    os.close(slave)
    try:
        while os.read(master, 1 << 16):
            continue
    except OSError:
        # EIO: the last descriptor of the other side is closed (pty(7)).
        pass
    finally:
        os.close(master)
    if process.wait() != 0:
        raise SystemExit("corral ps failed")


def nothing() -> None:
    subprocess.run([sys.executable, "-c", "pass"], check=True, env=common.environment())


async def run(options: Options) -> Report:
    report = Report("corral ps", "whole commands, interleaved with `python -c pass` of the same interpreter")
    with common.home(options) as home:
        async with corral.connect(home) as manager:
            started = 0
            for count, promise in PROMISES.items():
                while started < count:
                    batch = min(500, count - started)
                    await manager.start_many([["sleep", "3600"]] * batch)
                    started += batch
                while sum(job.state == "running" for job in await manager.jobs()) < count:
                    await asyncio.sleep(0.1)
                found = await asyncio.to_thread(
                    common.interleaved,
                    options.rounds(15),
                    {
                        "python -c pass": nothing,
                        f"ps, {count:,} jobs, pipe": partial(to_pipe, home),
                        f"ps, {count:,} jobs, terminal": partial(to_terminal, home),
                    },
                )
                baseline = found["python -c pass"]
                for name, seconds in found.items():
                    report.rows.append(Row(name, seconds))
                    if seconds is not baseline:
                        figure = Row("", common.ratios(seconds, baseline)).median
                        report.verdicts.append(Verdict(name, figure, promise))
    return report


if __name__ == "__main__":
    common.main(__doc__, run)
