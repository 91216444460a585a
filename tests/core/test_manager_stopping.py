"""A stop that proves itself: every program of the zoo, what escaped, what ignores, what was left behind."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from corral.library.job_handle import JobHandle
from corral.library.manager import JobManager
from corral.model.errors import NotSoError
from corral.model.reports import StopReport
from corral.platform.process.identity import ProcessIdentity, identify, is_alive
from corral.protocol import requests as p
from managers import eventually, eventually_so, marked, nonce_of, opened, python, ready, state_is, zoo_argv

pytestmark = pytest.mark.asyncio(loop_scope="module")

IGNORES = {"ignores_term", "ignores_many", "sits_in_vfork"}
ZOO_OF_ONE = [
    "ignores_term",
    "ignores_many",
    "deadlocks",
    "waits_for_socket",
    "waits_for_terminal",
    "never_reads",
    "renames_itself",
    "first_thread_ends",
]
ZOO_OF_MORE = [
    "own_session",
    "own_group",
    "orphans",
    "double_fork",
    "clears_environment",
    "waits_for_lock",
    "stops_itself",
    "sits_in_vfork",
    *(["changes_user"] if os.geteuid() == 0 else []),
]


async def tree_of(handle: JobHandle) -> list[ProcessIdentity]:
    found = (identify(view.pid) for view in await handle.processes())
    return [one for one in found if one is not None]


def assert_gone(report: StopReport, members: list[ProcessIdentity]) -> None:
    """Nothing lives, and the report names everything that did."""
    assert report.survivors == ()
    assert report.nothing_is_left
    assert [one for one in members if is_alive(one)] == []
    assert {one.pid for one in members} <= {process.pid for process in report.processes}
    assert all(process.ended_by is not None for process in report.processes)
    assert report.looked_at is not None


@pytest.mark.parametrize("name", [*ZOO_OF_ONE, *ZOO_OF_MORE])
async def test_nothing_of_the_zoo_is_left(name: str, shared: JobManager) -> None:
    handle = await shared.start(zoo_argv(name))
    said = await ready(handle)
    members = await tree_of(handle)
    assert len(members) >= (2 if name in ZOO_OF_MORE else 1)
    if said.isdigit():
        assert int(said) in {one.pid for one in members}
    report = await handle.stop(grace=0.1 if name in IGNORES else 10)
    assert_gone(report, members)
    assert marked(nonce_of(shared.session.home)) == []
    leader = next(process for process in report.processes if process.where == "leader")
    assert leader.signals[0] == "TERM"
    assert leader.ended_by == ("KILL" if name in IGNORES else "TERM")
    job = await handle.snapshot()
    assert (job.state, job.leftovers, job.processes) == ("stopped", 0, 0)
    assert job.reason == "stopped from the library"
    assert job.exit_status == (137 if name in IGNORES else 143)


async def test_what_forks_while_it_is_killed_is_outrun(shared: JobManager) -> None:
    handle = await shared.start(zoo_argv("forks_while_killed"))
    await ready(handle)
    report = await handle.stop(grace=0)
    assert report.nothing_is_left
    assert marked(nonce_of(shared.session.home)) == []


@pytest.mark.parametrize(
    "escape",
    [
        "import os; os.environ.clear(); os.execve('/bin/sleep', ['sleep', '60'], {})",
        "import os; os.setpgid(0, 0); os.execv('/bin/sleep', ['kworker', '60'])",
        "import os\nif os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\nos.execve('/bin/sleep', ['x', '60'], {})",
        "import signal, os\nfor n in (1, 2, 3, 15): signal.signal(n, 1)\nos.setsid() if os.getsid(0) != os.getpid() else 0\nos.execv('/bin/sleep', ['sleep', '60'])",
    ],
    ids=["cleared environment", "other group and name", "daemon", "ignores all"],
)
async def test_no_way_out(escape: str, shared: JobManager) -> None:
    home = shared.session.home
    handle = await shared.start(
        python(
            f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {escape!r}])\nimport time; time.sleep(60)"
        )
    )

    async def escaped() -> bool:
        names = set()
        for view in await handle.processes():
            try:
                names.add(os.readlink(f"/proc/{view.pid}/exe"))
            except FileNotFoundError:
                continue
        return any("sleep" in name or "coreutils" in name or "busybox" in name for name in names)

    await eventually_so(escaped, "the descendant to be on its way")
    report = await handle.stop(grace=0.2)
    assert report.nothing_is_left
    assert len(report.processes) >= 2
    assert marked(nonce_of(home)) == []


async def test_a_stopped_process_gets_to_act_on_term(shared: JobManager) -> None:
    code = "import signal, sys, time\nsignal.signal(15, lambda *a: sys.exit(9))\nprint('ready', flush=True)\nsignal.raise_signal(19)\ntime.sleep(60)"
    handle = await shared.start(python(code))

    async def is_suspended() -> bool:
        return any(view.state == "T" for view in await handle.processes())

    await eventually_so(is_suspended, "it to stop itself")
    report = await handle.stop(grace=10)
    job = await handle.snapshot()
    assert [process.ended_by for process in report.processes] == ["exit 9"]
    assert (job.state, job.exit_status, job.signal) == ("stopped", 9, None)


# ---- leftovers


@pytest.mark.parametrize(
    "argv", [zoo_argv("keeps_pipe"), zoo_argv("double_fork", "x")], ids=["keeps_pipe", "double_fork"]
)
async def test_leftovers_are_shown_and_ended_when_asked(argv: list[str], shared: JobManager) -> None:
    handle = await shared.start(argv)
    job = await handle.wait(timeout=30)
    assert (job.state, job.exit_status) == ("succeeded", 0)
    left = identify(int(await ready(handle)))
    assert left is not None
    assert is_alive(left)

    async def is_seen() -> bool:
        return (await handle.snapshot()).leftovers == 1

    await eventually_so(is_seen, "the leftover to be seen")
    report = await handle.stop(grace=5)
    assert_gone(report, [left])
    after = await handle.snapshot()
    assert (after.state, after.leftovers) == ("succeeded", 0)
    again = await handle.stop()
    assert again.note == "already ended"


async def test_a_job_with_leftovers_is_not_removed() -> None:
    async with opened() as manager:
        handle = await manager.start(zoo_argv("keeps_pipe"))
        await handle.wait(timeout=30)
        with pytest.raises(NotSoError, match="still alive"):
            await handle.remove()
        await handle.stop(grace=5)
        await handle.remove()
        assert await manager.jobs(all=True) == ()


async def test_leaving_ends_leftovers_too() -> None:
    async with opened() as manager:
        handle = await manager.start(zoo_argv("double_fork", "x"))
        await handle.wait(timeout=30)
        left = identify(int(await ready(handle)))
    assert left is not None
    assert not is_alive(left)


# ---- many, again, at the same moment


async def test_many_that_ignore_term_stop_in_parallel(shared: JobManager) -> None:
    handles = await shared.start_many([zoo_argv("ignores_term")] * 8)
    await asyncio.gather(*(ready(handle) for handle in handles))
    reports = await shared.stop(handles, grace=0.3)
    assert all(report.nothing_is_left for report in reports)
    assert all(process.signals == ("TERM", "KILL") for report in reports for process in report.processes)
    # Had one waited for another, its grace would have begun when the other's was over.
    assert max(report.seconds for report in reports) < 8 * 0.3


async def test_a_second_stop_skips_the_grace(shared: JobManager) -> None:
    handle = await shared.start(zoo_argv("ignores_term"))
    await ready(handle)
    first = asyncio.ensure_future(handle.stop(grace=600))

    async def has_been_asked() -> bool:
        job = await handle.snapshot()
        return job.stopping is not None and job.stopping.signal == "TERM"

    await eventually_so(has_been_asked, "the stop to have begun")
    job = await handle.snapshot()
    assert job.state == "stopping"
    second = await handle.stop()
    assert (await first).processes == second.processes
    assert second.processes[0].ended_by == "KILL"


async def test_stop_exit_timeout_and_restart_at_once_end_in_one_state(shared: JobManager) -> None:
    handles = await shared.start_many(["sleep 0.1"] * 12, timeout=0.1, stop_grace=0.1)
    asked = [
        act
        for handle in handles
        for act in (
            handle.stop(grace=0.1),
            handle.kill(),
            handle.pause(),
            handle.resume(),
            handle.signal("TERM"),
        )
    ]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(answer) for answer in answers} <= {StopReport, NotSoError, type(None)}
    jobs = await shared.wait(handles, timeout=30)
    assert {job.state for job in jobs} <= {"succeeded", "stopped", "timed_out"}
    assert marked(nonce_of(shared.session.home)) == []


async def test_what_waits_in_the_queue_never_starts() -> None:
    async with opened(parallel=1) as manager:
        running = await manager.start("sleep 60")
        queued = await manager.start("echo never")
        report = await queued.stop()
        job = await queued.snapshot()
        assert (job.state, job.exit_status, job.reason, job.started) == (
            "stopped",
            None,
            "never started",
            None,
        )
        assert (report.note, report.processes) == ("never started", ())
        await running.kill()


# ---- one stage, one signal


async def test_stop_of_one_stage_ends_the_pipeline_as_pipes_do(shared: JobManager) -> None:
    handle = await shared.start("sleep 60 | cat | cat")
    reply = await shared.session.call(p.StopJobs(ids=(handle.id,), stage=1))
    assert [process.name for process in reply.reports[0].processes] == ["sleep"]
    job = await handle.wait(timeout=30)
    assert (job.state, job.exit_status, job.signal) == ("stopped", 143, "TERM")
    assert job.reason == "stage 1 (sleep) was ended by SIGTERM from corral stop"
    assert [stage.exit_status for stage in job.stages] == [None, 0, 0]


async def test_a_signal_to_one_stage_to_the_tree_and_to_one_process(shared: JobManager) -> None:
    trap = "trap 'echo got >&2' USR1; echo ready >&2; while :; do sleep 0.01; done"
    handle = await shared.start(["sh", "-c", trap])

    async def heard(times: int) -> bool:
        return (await handle.stderr()).count(b"got") >= times

    async def is_set() -> bool:
        return b"ready" in await handle.stderr()

    await eventually_so(is_set, "the trap to be set")
    await handle.signal("USR1")
    await eventually_so(lambda: heard(1), "the leader to get it")
    pid = (await handle.snapshot()).stages[0].pid
    await shared.session.call(p.SignalJobs(ids=(handle.id,), signal="USR1", pid=pid))
    await eventually_so(lambda: heard(2), "it to come by pid")
    for stranger in (1, os.getpid(), 999_999_999):
        outcome = await shared.session.call(p.SignalJobs(ids=(handle.id,), signal="KILL", pid=stranger))
        assert outcome.errors == (f"pid {stranger} is no process of job {handle.id}",)
    await handle.signal("KILL", tree=True)
    job = await handle.wait(timeout=30)
    assert (job.state, job.exit_status, job.signal) == ("stopped", 137, "KILL")
    assert job.reason == "stage 1 (sh) was ended by SIGKILL from corral signal"


async def test_bad_requests_for_signals_and_stages_touch_nothing(shared: JobManager) -> None:
    handle = await shared.start("sleep 60")
    for signal, stage in (("NOSUCH", None), ("KILL", 2), ("KILL", 0)):
        with pytest.raises(Exception, match=r"signal|stage"):
            await handle.signal(signal, stage=stage)
    assert (await handle.snapshot()).state == "running"
    await handle.kill()
    with pytest.raises(NotSoError, match="has ended"):
        await handle.signal("TERM")


# ---- jobs inside jobs


async def test_a_manager_inside_a_job_is_named_by_nobody_and_ends_with_its_owner(
    tmp_path: Path, shared: JobManager
) -> None:
    """Its daemon takes its own mark off: stopping the outer job ends its owner, and so the lease."""
    code = (
        "import asyncio, corral, pathlib, sys\n"
        "async def main():\n"
        "    async with corral.open() as shared:\n"
        "        handle = await shared.start('sleep 60')\n"
        "        job = await handle.snapshot()\n"
        "        pathlib.Path(sys.argv[1]).write_text(f'{shared.session.hello.pid} {job.stages[0].pid}\\n')\n"
        "        await handle.wait()\n"
        "asyncio.run(main())\n"
    )
    note = tmp_path / "note"
    handle = await shared.start([sys.executable, "-c", code, str(note)])
    text = await eventually(lambda: note.exists() and note.read_text(), "the inner shared to be there")
    inner = [identify(int(pid)) for pid in str(text).split()]
    report = await handle.stop(grace=5)
    assert report.nothing_is_left
    assert {process.pid for process in report.processes}.isdisjoint({one.pid for one in inner if one})
    for one in inner:
        assert one is not None
        await eventually(lambda one=one: not is_alive(one), "the inner lease to end", seconds=10)


async def test_pause_reaches_the_whole_tree(shared: JobManager) -> None:
    handle = await shared.start(zoo_argv("own_session"))
    await ready(handle)
    await handle.pause()

    async def all_are_suspended() -> bool:
        # A process acts on a signal when it gets the processor again.
        return [view.state for view in await handle.processes()] == ["T"] * 3

    await eventually_so(all_are_suspended, "all three to be suspended")
    with pytest.raises(NotSoError, match="is paused"):
        await handle.pause()
    await handle.resume()
    await state_is(handle, "running")

    async def all_go_on() -> bool:
        return all(view.state != "T" for view in await handle.processes())

    await eventually_so(all_go_on, "all to go on")
