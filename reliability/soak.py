"""Days, in minutes: thousands of short jobs beside one that never stops talking, and what the daemon keeps of them.

    python -m reliability soak [--jobs 20000] [--keep N] [--bound KIB]

Every 1,000 jobs it reads the daemon's memory, descriptors, threads, journal and the time that `ps` takes, prints them,
and at the end the slope of each by least squares, the first quarter left out. Most jobs go through the library in
batches, one in ten through the command line's own client, each with a connection of its own; a program that subscribed
watches all of it, and its memory is read too. Exits with 1 where memory or descriptors grow by more than the bound.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import psutil

import corral
from corral.client.blocking import Client
from corral.client.environment import surroundings
from corral.client.session import Session
from corral.model.home import Home
from corral.protocol import requests as p
from e2e.daemons import Daemons, spec, start, wait
from reliability import itself
from until import until

ROUND = 1000
BY_COMMAND_LINE = 100
"""Jobs of a round that go through a client of their own each."""
CHATTY = (
    "import sys,time\n"
    "while True:\n"
    "    sys.stdout.write('a line of a job that talks all day long\\n' * 50); sys.stdout.flush(); time.sleep(0.05)\n"
)
DESCRIPTOR_BOUND = 0.5
"""Descriptors per 1,000 jobs: noise of a few, no growth."""

SUBSCRIBER_BOUND = 200.0
"""KiB per 1,000 jobs: what it keeps is bounded, but goes up and down by a megabyte as garbage is collected."""


@dataclass
class Sample:
    """What stood after so many jobs. Memory and journal in KiB, times in ms."""

    jobs: int
    memory: float
    subscriber: float
    descriptors: float
    threads: float
    journal: float
    ps: float
    batch: float


def slope(samples: Sequence[Sample], name: str) -> float:
    """Growth per 1,000 jobs by least squares, after the first quarter."""
    late = samples[len(samples) // 4 :]
    xs = [sample.jobs / 1000 for sample in late]
    ys = [float(getattr(sample, name)) for sample in late]
    return statistics.linear_regression(xs, ys).slope


@contextlib.contextmanager
def subscriber(home: Home) -> Iterator[psutil.Process]:
    """Another program that watches all jobs, as a dashboard does."""
    argv = itself("soak", "--subscribe", home.path)
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield psutil.Process(process.pid)
        finally:
            process.kill()


async def watch(path: str) -> None:
    session = await Session.connect(Home(path), start=False)
    await session.subscribe()
    print("ready", flush=True)
    while True:
        await session.changed()


async def by_library(home: Home, count: int) -> None:
    """One batch, and all of its ends."""
    async with corral.connect(home.path) as manager:
        handles = await manager.start_many([["true"]] * count)
        ended = await manager.wait(handles)
        assert all(job.state == "succeeded" for job in ended), [
            job for job in ended if job.state != "succeeded"
        ][:3]


def by_command_line(daemons: Daemons, count: int) -> None:
    """Each with a connection of its own, as `corral run` and `corral wait`."""
    for _ in range(count):
        with daemons.client(start=False) as client:
            (job,) = wait(client, *start(client, ["true"]))
            assert job.state == "succeeded", job


def look(
    daemons: Daemons, daemon: psutil.Process, watcher: psutil.Process, jobs: int, batch: float
) -> Sample:
    times = []
    with daemons.client(start=False) as client:
        for _ in range(9):
            began = time.perf_counter()
            client.call(p.ListJobs())
            times.append(1000 * (time.perf_counter() - began))
    files = (daemons.home.journal + suffix for suffix in ("", "-wal"))
    journal = sum(os.path.getsize(file) for file in files if os.path.exists(file))
    return Sample(
        jobs,
        daemon.memory_info().rss / 1024,
        watcher.memory_info().rss / 1024,
        daemon.num_fds(),
        daemon.num_threads(),
        journal / 1024,
        statistics.median(times),
        1000 * batch / ROUND,
    )


def connect_often(daemons: Daemons, daemon: psutil.Process, times: int) -> tuple[int, int]:
    """Descriptors before and after so many connections."""
    before = daemon.num_fds()
    for _ in range(times):
        with Client.connect(daemons.home, start=False):
            pass
    until(lambda: daemon.num_fds() <= before, "closed connections to be let go", seconds=10)
    return before, daemon.num_fds()


def stop_often(daemons: Daemons, daemon: psutil.Process, times: int) -> tuple[int, int]:
    """Descriptors before and after so many stops of a pipeline."""
    before = daemon.num_fds()
    with daemons.client(start=False) as client:
        for _ in range(times):
            (job,) = start(client, "sleep 300 | sleep 300")
            (report,) = client.call(p.StopJobs(ids=(job,)), timeout=30).reports
            assert report.nothing_is_left
    until(lambda: daemon.num_fds() <= before, "descriptors of stopped jobs to be let go", seconds=10)
    return before, daemon.num_fds()


def soak(jobs: int, home: Path, keep: int | None) -> list[Sample]:
    if keep is not None:
        settings = home.parent / "config" / "corral"
        settings.mkdir(parents=True)
        (settings / "config.toml").write_text(f"[clean]\nkeep = {keep}\n")
        os.environ["XDG_CONFIG_HOME"] = str(settings.parent)
    daemons = Daemons(home)
    samples = []
    try:
        with daemons.client() as client:
            request = p.StartJobs(
                specs=(spec([sys.executable, "-c", CHATTY], name="chatty", max_output=1 << 20),),
                surroundings=surroundings(),
                wait_started=True,
            )
            client.call(request, timeout=30)
        daemon = psutil.Process(daemons.pid())
        with subscriber(daemons.home) as watcher:
            print("  jobs  daemon  watcher  descr. threads  journal     ps  a job")
            print("           KiB      KiB                      KiB     ms     ms")
            for done in range(ROUND, jobs + 1, ROUND):
                began = time.perf_counter()
                asyncio.run(by_library(daemons.home, ROUND - BY_COMMAND_LINE))
                by_command_line(daemons, BY_COMMAND_LINE)
                samples.append(look(daemons, daemon, watcher, done, time.perf_counter() - began))
                print(
                    "{:6d} {:7.0f} {:8.0f} {:7.0f} {:7.0f} {:8.0f} {:6.2f} {:6.2f}".format(
                        *astuple(samples[-1])
                    ),
                    flush=True,
                )
            print(
                "descriptors before and after 1,000 connections: {} {}".format(
                    *connect_often(daemons, daemon, 1000)
                )
            )
            print("descriptors before and after 200 stops: {} {}".format(*stop_often(daemons, daemon, 200)))
    finally:
        daemons.end()
    return samples


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--keep", type=int, help="clean by rules meanwhile: ended jobs that are kept")
    parser.add_argument("--bound", type=float, default=50.0, help="KiB of memory per 1,000 jobs")
    parser.add_argument("--subscribe", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.subscribe:
        asyncio.run(watch(options.subscribe))
        return 0
    with tempfile.TemporaryDirectory(prefix="corral-soak-") as path:
        samples = soak(options.jobs, Path(path) / "home", options.keep)
    slopes = {field.name: slope(samples, field.name) for field in fields(Sample) if field.name != "jobs"}
    print("growth per 1,000 jobs, after the first quarter:")
    for name, value in slopes.items():
        print(f"  {name:12} {value:+.2f}")
    is_flat = slopes["memory"] <= options.bound and slopes["subscriber"] <= SUBSCRIBER_BOUND
    return 0 if is_flat and slopes["descriptors"] <= DESCRIPTOR_BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
