"""`--leftovers stop`: what outlives a job by itself is ended, and the job stays what it was."""

from __future__ import annotations

from corral.platform.process.identity import identify, is_alive
from corral.protocol import requests as p
from managers import eventually_so, marked, nonce_of, opened, python, ready, zoo_argv

FAILS_AND_LEAVES_A_STUBBORN_ONE = python(
    "import os, signal, time\n"
    "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    "if os.fork(): os._exit(3)\n"
    "os.setsid()\n"
    "time.sleep(60)"
)


async def test_what_outlives_a_job_is_ended_and_its_result_stays() -> None:
    async with opened() as manager:
        result = await manager.run(zoo_argv("double_fork", "x"), leftovers="stop")
        assert marked(nonce_of(manager.session.home)) == []
        handle = manager.job(result.job.id)
        left = int(await ready(handle))
        assert (result.job.state, result.exit_status, result.job.leftovers) == ("succeeded", 0, 0)
        report = await handle.stop()
        assert [(one.pid, one.signals, one.ended_by) for one in report.processes] == [
            (left, ("TERM",), "TERM")
        ]
        assert (report.state, report.note) == ("succeeded", "already ended")
        detail = await manager.session.call(p.ShowJob(job=handle.id))
        assert detail.stop is not None
        assert detail.stop.processes == report.processes
        told = [event.text for event in detail.events]
        assert told[-2:] == [
            "leftovers: stopped by --leftovers stop: TERM, KILL after 5s",
            "leftovers are gone",
        ]


async def test_leftovers_get_the_job_s_own_stop_sequence() -> None:
    async with opened() as manager:
        result = await manager.run(
            FAILS_AND_LEAVES_A_STUBBORN_ONE, leftovers="stop", stop_signal="INT", stop_grace=0.1
        )
        report = await manager.job(result.job.id).stop()
    assert (result.job.state, result.exit_status) == ("failed", 3)
    assert [(one.signals, one.ended_by) for one in report.processes] == [(("INT", "KILL"), "KILL")]


async def test_leftovers_that_may_stay_do() -> None:
    """Beside a job whose leftovers are ended, so that the look for them has been had."""
    async with opened() as manager:
        kept = await manager.run(zoo_argv("double_fork", "x"), leftovers="leave")
        handle = manager.job(kept.job.id)
        left = identify(int(await ready(handle)))
        await manager.run(zoo_argv("double_fork", "x"), leftovers="stop")

        async def is_seen() -> bool:
            return (await handle.snapshot()).leftovers == 1

        await eventually_so(is_seen, "the leftover to be seen")
        assert left is not None
        assert is_alive(left)
