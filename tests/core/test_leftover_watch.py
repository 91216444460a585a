"""What has outlived its job and then ends is noticed at once, by who looks on and by who asks."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from corral.library.manager import JobManager, connect
from corral.platform.process.identity import identify, is_alive
from corral.runner import leftover_watch
from corral.runner.leftover_watch import LeftoverWatch
from e2e.daemons import altered
from managers import eventually, eventually_so, opened, ready, zoo_argv
from until import python, running

NEVER_SCANS = """
from corral.retention import cleaner
from corral.monitor.monitor import Monitor
Monitor.scan = lambda self, now: None
cleaner.FIRST_SECONDS = 1e9
"""


async def left_of(manager: JobManager) -> tuple[str, int]:
    """A job that has ended, and the process that lives on of it, once it was counted."""
    result = await manager.run(zoo_argv("double_fork", "x"))
    handle = manager.job(result.job.id)

    async def is_counted() -> bool:
        return (await handle.snapshot()).leftovers == 1

    await eventually_so(is_counted, "the leftover to be counted")
    return handle.id, int(await ready(handle))


async def test_who_asks_is_told_of_no_process_that_has_ended() -> None:
    async with opened() as manager:
        job, pid = await left_of(manager)
        identity = identify(pid)
        assert identity is not None
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: not is_alive(identity), "it to end")
        assert (await manager.job(job).snapshot()).leftovers == 0
        assert (await manager.jobs(all=True))[0].leftovers == 0


async def test_who_looks_on_is_told_without_another_look_at_all_processes(tmp_path: Path) -> None:
    with altered(tmp_path / "home", NEVER_SCANS) as daemons:
        async with connect(daemons.home.path) as manager:
            await manager.session.subscribe()
            job, pid = await left_of(manager)

            def told() -> int | None:
                known = manager.session.snapshot.jobs.get(job)
                return None if known is None else known.leftovers

            await eventually(lambda: told() == 1, "the leftover to be told of")
            os.kill(pid, signal.SIGKILL)
            await eventually(lambda: told() == 0, "its end to be told of")


async def test_only_some_are_watched_and_each_is_let_go_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftover_watch, "MOST_WATCHED", 2)
    ends: list[bool] = []
    watch = LeftoverWatch(lambda: ends.append(True))
    before = os.listdir("/proc/self/fd")
    sleep = python("import time; time.sleep(60)")
    with running(*sleep) as first, running(*sleep) as second, running(*sleep) as third:
        all_of_them = [one for each in (first, second, third) if (one := identify(each.pid))]
        watch.watch(all_of_them)
        assert len(os.listdir("/proc/self/fd")) == len(before) + 2
        third.kill()
        first.kill()
        await eventually(lambda: ends, "the end of one that is watched to be told")
        assert len(os.listdir("/proc/self/fd")) == len(before) + 1
        watch.watch(all_of_them)
        assert len(os.listdir("/proc/self/fd")) == len(before) + 1, "of one that has ended nothing is kept"
        watch.watch(())
    assert os.listdir("/proc/self/fd") == before
    assert ends == [True]
