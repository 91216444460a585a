"""The quick form of reliability/escape.py and storm.py, and what they once found."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import forkserver
from corral.platform.process.identity import identify, is_alive
from e2e.command import Corral, read_all
from e2e.daemons import Daemons, job, start
from managers import zoo_argv
from reliability import escape, storm
from until import until


def test_commands_that_meet_a_dying_daemon_leave_every_job_in_order() -> None:
    done = storm.run(clients=3, commands=15, seed=7, kills=1)
    assert done.wrong == []
    assert sum(count for what, count in done.done.items() if what.startswith("= ")) > 5


def test_leftovers_stop_on_the_command_line() -> None:
    """The escape that ends by itself: `run --leftovers stop` leaves nothing of it."""
    (habit,) = [one for one in escape.HABITS if one.ends_itself]
    assert escape.run([habit], ["timeout"], 1, is_quiet=True) == 0


def test_leftovers_that_end_while_no_daemon_runs_are_not_counted_any_more(tmp_path: Path) -> None:
    daemons = Daemons(tmp_path / "home")
    try:
        with daemons.client() as client:
            (number,) = start(client, zoo_argv("double_fork", "x"))
            until(lambda: job(client, number).leftovers == 1, "the leftover to be counted")
        left = identify(int(Path(daemons.home.stdout(number)).read_bytes().split()[1]))
        assert left is not None
        daemons.signal(signal.SIGKILL)
        os.kill(left.pid, signal.SIGKILL)
        until(lambda: not is_alive(left), "the leftover to be gone")
        with daemons.client() as client:
            assert job(client, number).leftovers == 0
    finally:
        daemons.end()


def test_the_second_stop_of_a_command_skips_the_grace(corral: Corral) -> None:
    """`corral stop` while another `corral stop` waits out a grace of ten minutes."""
    number = corral.ok("run", "--", *zoo_argv("ignores_many"))
    path = corral.home / "jobs" / number / "stdout"
    until(lambda: path.exists() and path.read_bytes().startswith(b"ready"), "it to ignore TERM")
    with corral.start("stop", "--grace", "10m", number) as first:
        until(
            lambda: json.loads(corral.ok("ps", "--json", number))[0]["state"] == "stopping",
            "the stop to begin",
        )
        assert "TERM then KILL  ended by KILL" in corral.ok("stop", number)
        assert b"TERM then KILL  ended by KILL" in read_all(first.stdout)
        assert read_all(first.stderr) == b""
        assert first.wait(30) == 0


REMOVED_BEFORE_THE_NEXT_PASS = """
import asyncio, sys
from corral.home.directory import prepare_home
from corral.journal.journal import Journal
from corral.engine.engine import Engine
from corral.client.environment import surroundings
from corral.commandline.parser import parse
from corral.model.home import Home
from corral.model.spec import JobSpec

async def end_of(engine, number):
    await asyncio.wait_for(asyncio.gather(*engine.ends.of([number])), 20)

async def main(home):
    prepare_home(home)
    engine = Engine(home, Journal.open(home))
    await engine.acceptance.accept([JobSpec(parse("sleep 60"), "first")], surroundings())
    await engine.acceptance.accept([JobSpec(parse("true"), "second", after=("1",))], surroundings())
    await engine.queue.until_started(1)
    # No pass of the loop from here on: the removal comes first.
    engine.queue._has_pass = True
    engine.signals.signal_job(1, "KILL")
    await end_of(engine, 1)
    print(await engine.removals.remove([1], force=False))
    engine.queue._has_pass = False
    engine.queue.wake()
    await end_of(engine, 2)
    print(engine.snapshots.of(2).state, engine.snapshots.of(2).reason)

asyncio.run(main(Home(sys.argv[1])))
"""


def test_a_job_that_waits_for_one_that_fails_and_is_removed_at_once_fails_too(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", REMOVED_BEFORE_THE_NEXT_PASS, str(tmp_path / "home")]
    done = forkserver.run(argv, text=True, timeout=60)
    assert done.stdout.splitlines() == [
        "(['job 1 removed'], [])",
        "failed job 1, which it waited for, was stopped",
    ], done.stderr
