"""Thousands of queued jobs: `python -m reliability many`, or with `--jobs 20000 --stages 1`, `--jobs 1 --stages 255`, `--jobs 300 --stages 1 --words 14705`.

Starts them behind one that sleeps, and does what a person, a script and a program do with so many: list, subscribe, open
the dashboard, wait, stop, remove, end the daemon. Each step has a deadline. Prints the seconds that each took, the memory
of the daemon after it, and the most that the command or this program had. Exits with 1 where one fails or is late.
Ends all that it has started, whoever ends it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import corral
from corral.client.session import Session
from corral.library.manager import JobManager
from corral.model.home import Home
from corral.model.spec import Command, Pipeline
from e2e.daemons import Daemons
from e2e.terminal import Terminal

SECONDS = 40.0
"""Until a step is late."""
BLOCKER_SECONDS = "900"


class Late(Exception):
    """A step did not end in time."""


def memory_of(pid: int) -> int:
    """Resident bytes; 0 once it is gone."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (FileNotFoundError, ProcessLookupError):
        return 0


class Many:
    """So many jobs of one home, and how long each thing takes with them."""

    def __init__(self, directory: Path, jobs: int, stages: int, words: int) -> None:
        self.daemons = Daemons(directory / "home")
        self.home = str(directory / "home")
        self.jobs = jobs
        names = [f"a-rather-long-file-name-{number:07d}.txt" for number in range(words)]
        self.pipeline = Pipeline((Command(("cat", *names)),) * stages)
        self.pid = 0
        self.wrong = 0

    # ---- one step

    async def step(self, name: str, act: Callable[[], Awaitable[object]]) -> None:
        """Do it, within its time, and print what it cost."""
        began = time.monotonic()
        peak = 0
        try:
            async with asyncio.timeout(SECONDS):
                told = await act()
            said = told if isinstance(told, str) else ""
        except TimeoutError:
            said = f"WRONG: not done after {SECONDS:g} s"
        except Exception as error:
            said = f"WRONG: {type(error).__name__}: {str(error)[:300]}"
        self.wrong += said.startswith("WRONG")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        seconds = time.monotonic() - began
        print(
            f"{name:<34} {seconds:7.2f} s  daemon {memory_of(self.pid) >> 20:5} MB  here {peak:5} MB  {said}",
            flush=True,
        )

    async def command(self, *words: str, status: int = 0) -> str:
        """`corral words…`; its size and its memory."""
        return await asyncio.to_thread(self._run, words, status)

    def _run(self, words: tuple[str, ...], status: int) -> str:
        argv = ["timeout", "--signal=KILL", str(SECONDS), sys.executable, "-m", "corral_tui.main", *words]
        began = time.monotonic()
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, "CORRAL_HOME": self.home},
            )
            _, code, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(code)
            size = out.seek(0, os.SEEK_END)
            err.seek(0)
            said = err.read(400).decode(errors="replace").strip()
        what = f"exit {process.returncode}, {size:,} bytes, {usage.ru_maxrss >> 10} MB {said[:200]}"
        late = time.monotonic() - began >= SECONDS
        return what if process.returncode == status and not late else f"WRONG: {what}"

    # ---- all of them

    async def run(self) -> None:
        with self.daemons.client() as client:
            self.pid = client.hello.pid
        async with corral.connect(self.home) as manager:
            await self._fill(manager)
            await self._look(manager)
            await self._end(manager)
        async with corral.connect(self.home) as manager:
            await self._fill(manager)
            await self._fail(manager)
            await self._fill(manager)
        await self.step(
            "corral daemon stop --jobs stop", lambda: self.command("daemon", "stop", "--jobs", "stop")
        )
        await self._private()

    async def _fill(self, manager: JobManager) -> None:
        blocker = await manager.start(["sleep", BLOCKER_SECONDS])
        commands = [self.pipeline] * self.jobs

        async def start() -> str:
            self.handles = await manager.start_many(commands, after=[blocker])
            return f"{len(self.handles)} handles"

        await self.step(f"start_many of {self.jobs}", start)

    async def _look(self, manager: JobManager) -> None:
        async def jobs() -> str:
            return f"{len(await manager.jobs())} jobs"

        async def subscribe() -> str:
            session = await Session.connect(Home(self.home), origin="dashboard")
            try:
                await session.subscribe()
                return f"{len(session.snapshot.jobs)} jobs"
            finally:
                await session.end()

        some = [handle.id for handle in self.handles]
        await self.step("jobs()", jobs)
        await self.step("jobs() again", jobs)
        await self.step("subscribe", subscribe)
        await self.step("corral ps", lambda: self.command("ps"))
        await self.step("corral ps -q", lambda: self.command("ps", "-q"))
        await self.step("corral ps --json", lambda: self.command("ps", "--json"))
        await self.step("corral ps -a", lambda: self.command("ps", "-a"))
        await self.step("corral ps of all by id", lambda: self.command("ps", *some))
        await self.step("corral show", lambda: self.command("show", some[-1]))
        await self.step("corral why", lambda: self.command("why"))
        await self.step("corral daemon status", lambda: self.command("daemon", "status"))
        await self.step("corral daemon stop (refused)", lambda: self.command("daemon", "stop", status=1))
        await self.step(
            "corral wait --timeout 0.1", lambda: self.command("wait", "--timeout", "0.1", *some, status=124)
        )
        await self.step("the dashboard", lambda: asyncio.to_thread(self._dashboard))
        await self.step("corral daemon restart", lambda: self.command("daemon", "restart"))
        await self.step("jobs() after it", jobs)

    def _dashboard(self) -> str:
        argv = [sys.executable, "-m", "corral_tui.main"]
        environment = {**os.environ, "CORRAL_HOME": self.home, "TERM": "xterm-256color"}
        with Terminal(argv, environment=environment) as terminal:
            began = time.monotonic()
            terminal.wait_for("queued", seconds=SECONDS)
            painted = time.monotonic() - began
            memory = memory_of(terminal.process.pid)
        return f"painted after {painted:.1f} s, {memory >> 20} MB"

    async def _end(self, manager: JobManager) -> None:
        async def wait() -> str:
            return f"{len(await manager.wait(self.handles))} ended"

        waiting = asyncio.create_task(wait())
        await self.step("corral stop --all", lambda: self.command("stop", "--all"))
        await self.step("wait() of all", lambda: waiting)
        waiting.cancel()
        await self.step("corral ps", lambda: self.command("ps"))
        await self.step(
            "corral stop of all, ended", lambda: self.command("stop", *(one.id for one in self.handles))
        )
        await self.step("corral rm of all", lambda: self.command("rm", *(one.id for one in self.handles)))

    async def _fail(self, manager: JobManager) -> None:
        """The one that they wait for is stopped; others are answered meanwhile."""
        (first,) = [job.id for job in await manager.jobs() if job.state == "running"]
        await self.step("corral kill of what all wait for", lambda: self.command("kill", first))
        await self.step("corral daemon status meanwhile", lambda: self.command("daemon", "status"))

        async def wait() -> str:
            return f"{len({job.reason for job in await manager.wait(self.handles)})} reason"

        await self.step("wait() of all", wait)

    async def _private(self) -> None:
        manager = corral.open(parallel=1)
        await self.step("corral.open()", manager.__aenter__)
        assert manager.session.hello is not None
        self.pid = manager.session.hello.pid

        async def start() -> str:
            await manager.start(["sleep", BLOCKER_SECONDS])
            return f"{len(await manager.start_many([self.pipeline] * self.jobs))} handles"

        async def leave() -> str:
            await manager.__aexit__(None, None, None)
            return f"{len(manager.reports)} reports"

        await self.step(f"start_many of {self.jobs}, parallel=1", start)

        async def jobs() -> str:
            return f"{len(await manager.jobs())} jobs"

        await self.step("jobs()", jobs)
        await self.step("leaving it", leave)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=4750)
    parser.add_argument("--stages", type=int, default=32)
    parser.add_argument("--words", type=int, default=0, help="arguments of 35 bytes that each stage has")
    chosen = parser.parse_args()
    # So that the daemon is ended whoever ends us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    directory = Path(tempfile.mkdtemp(prefix="corral-many-"))
    # Nothing is cleaned, however many have ended.
    settings = directory / "corral" / "config.toml"
    settings.parent.mkdir()
    settings.write_text('[clean]\nkeep = "none"\n')
    os.environ["XDG_CONFIG_HOME"] = str(directory)
    many = Many(directory, chosen.jobs, chosen.stages, chosen.words)
    try:
        asyncio.run(many.run())
    finally:
        many.daemons.end()
        shutil.rmtree(directory)
    print("all in time" if not many.wrong else f"{many.wrong} steps went wrong")
    return 1 if many.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
