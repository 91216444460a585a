"""Processes that belong to a job and do not say so: proven by other ways, marked again, or named as in doubt."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from corral.library.job_handle import JobHandle
from corral.library.manager import JobManager
from corral.platform.process import mark
from corral.platform.process.identity import identify, is_alive
from managers import eventually, eventually_so, nonce_of, opened, python
from until import python as quick_python

pytestmark = pytest.mark.skipif(mark.why_not() is not None, reason=f"no marks here: {mark.why_not()}")

COMM = os.path.basename(sys.executable)[:15]
"""What the kernel calls our Python (PR_SET_NAME(2const): 15 letters)."""
TAKE_OFF = "import os, resource, signal, sys, time\nresource.setrlimit(10, (-1, -1))\n"
SLEEP = "time.sleep(60)\n"
BARE = "os.execve('/bin/sleep', ['sleep', '60'], {})\n"
"""Nothing in its environment tells of a job."""
DAEMON = f"if os.fork() == 0:\n os.setsid()\n if os.fork() == 0:\n  {BARE} os._exit(0)\nos.wait()\n"


def mark_of(pid: int) -> mark.Mark | None:
    try:
        return mark.read(pid)
    except PermissionError:
        return None


async def pids(handle: JobHandle) -> list[int]:
    return [view.pid for view in await handle.processes()]


async def counted(handle: JobHandle, number: int) -> list[int]:
    async def are_counted() -> bool:
        return len(await pids(handle)) == number

    await eventually_so(are_counted, f"{number} processes to be counted")
    return await pids(handle)


async def assert_ended(handle: JobHandle, were: list[int]) -> None:
    identities = [identify(pid) for pid in were]
    report = await handle.stop(grace=5)
    assert report.nothing_is_left
    assert {one.pid for one in report.processes} == set(were)
    assert not any(identity is not None and is_alive(identity) for identity in identities)


async def test_a_leader_that_took_its_mark_off_is_a_job_as_any_other() -> None:
    async with opened() as manager:
        handle = await manager.start(python(TAKE_OFF + "print('ready', flush=True)\n" + SLEEP))
        (pid,) = await counted(handle, 1)
        nonce = nonce_of(manager.session.home)

        async def is_ready() -> bool:
            return b"ready" in await handle.stdout()

        await eventually_so(is_ready, "the mark to be off")
        await counted(handle, 1)
        assert mark_of(pid) == mark.Mark(nonce, int(handle.id), 1)
        await handle.pause()
        await handle.resume()

        async def sleeps() -> bool:
            return [wait.kind for wait in (await handle.why()).waits] == ["timer"]

        await eventually_so(sleeps, "it to be seen to sleep")
        await assert_ended(handle, [pid])


async def test_what_it_started_is_marked_with_it() -> None:
    """A session of its own and no environment: nothing tells of it but that its parent is the job's."""
    code = TAKE_OFF + f"if os.fork() == 0:\n os.setsid()\n {BARE}" + SLEEP
    async with opened() as manager:
        handle = await manager.start(python(code))
        were = await counted(handle, 2)
        nonce = nonce_of(manager.session.home)
        assert [mark_of(pid) for pid in were] == [mark.Mark(nonce, int(handle.id), 1)] * 2
        await assert_ended(handle, were)


async def test_a_time_limit_ends_what_has_no_mark() -> None:
    async with opened() as manager:
        handle = await manager.start(python(TAKE_OFF + SLEEP), timeout=0.3, stop_grace=5)
        job = await handle.wait(timeout=30)
    assert (job.state, job.exit_status) == ("timed_out", 124)


async def test_what_lowered_its_hard_limit_cannot_be_marked_and_is_ended_all_the_same() -> None:
    code = (
        TAKE_OFF + "resource.setrlimit(10, (9, 9))\n" + f"if os.fork() == 0:\n os.setsid()\n {BARE}" + SLEEP
    )
    async with opened() as manager:
        handle = await manager.start(python(code))
        were = await counted(handle, 2)
        assert [mark.value_of(pid) for pid in were] == [9, 9]
        await assert_ended(handle, were)


async def test_an_orphan_that_only_one_job_can_have_born_is_its() -> None:
    """A daemon in every way, without a mark, of a job that has ended."""
    async with opened() as manager:
        handle = await manager.start(python(TAKE_OFF + DAEMON))
        job = await handle.wait(timeout=30)
        assert job.state == "succeeded"

        async def is_left() -> bool:
            return (await handle.snapshot()).leftovers == 1

        await eventually_so(is_left, "it to be counted as left")
        await assert_ended(handle, await pids(handle))


async def orphan_of_two(manager: JobManager, note: Path) -> tuple[int, JobHandle, JobHandle]:
    """A daemon without a mark, the job that has born it, and one that ran beside it."""
    other = await manager.start("sleep 60")
    code = (
        TAKE_OFF
        + f"open({str(note)!r}, 'w').close()\n"
        + DAEMON.replace(BARE, f"open({str(note)!r}, 'w').write(str(os.getpid()) + ' ')\n  {BARE}")
    )
    mother = await manager.start(python(code))
    await mother.wait(timeout=30)
    text = await eventually(note.read_text, "the daemon to be there")
    return int(text), other, mother


async def test_an_orphan_that_two_jobs_may_have_born_is_in_doubt_for_both_and_no_other(
    tmp_path: Path,
) -> None:
    async with opened() as manager:
        pid, other, mother = await orphan_of_two(manager, tmp_path / "note")
        try:
            later = await manager.start("sleep 60")

            async def is_in_doubt() -> bool:
                return (await mother.snapshot()).in_doubt == 1

            await eventually_so(is_in_doubt, "the doubt to be noticed")
            for handle, is_named in ((later, False), (other, True), (mother, True)):
                report = await handle.stop()
                assert [one.pid for one in report.in_doubt] == [pid] * is_named
                assert report.nothing_is_left is not is_named
                assert report.survivors == ()
            assert report.in_doubt[0].reason == (
                f"not signalled, since it may be of job {other.id} or {mother.id}, and nothing proves of which;"
                f" kill {pid} ends it"
            )
            assert ((await other.snapshot()).state, (await later.snapshot()).in_doubt) == ("stopped", 0)
            assert mark.value_of(pid) == mark.UNLIMITED
        finally:
            os.kill(pid, signal.SIGKILL)

        async def is_certain() -> bool:
            return (await mother.snapshot()).in_doubt == (await other.snapshot()).in_doubt == 0

        await eventually_so(is_certain, "the doubt to be over")
        assert (await mother.stop()).nothing_is_left


async def test_who_wears_the_mark_of_another_job_is_of_the_job_that_has_more_for_it() -> None:
    """Its parent, its session, its group and its environment say one job, its mark alone the other."""
    async with opened() as manager:
        victim = await manager.start("sleep 60")
        worn = mark.encode(mark.Mark(nonce_of(manager.session.home), int(victim.id), 1))
        wear = f"import os, resource, time\nif os.fork() == 0:\n resource.setrlimit(10, ({worn}, -1))\n print('ready', flush=True)\n"
        thief = await manager.start(python(wear + SLEEP))

        async def is_ready() -> bool:
            return b"ready" in await thief.stdout()

        await eventually_so(is_ready, "it to wear the mark")
        leader, child = await counted(thief, 2)
        report = await victim.stop()
        assert len(report.processes) == 1
        assert report.note == f"{child} {COMM} had the mark of this job, but is a process of job {thief.id}"
        assert (await thief.snapshot()).state == "running"
        report = await thief.stop()
        assert {one.pid for one in report.processes} == {leader, child}
        assert report.note == f"{child} {COMM} had the mark of job {victim.id}"


async def test_who_names_another_job_in_its_environment_alone_is_named_by_both() -> None:
    async with opened() as manager:
        victim = await manager.start("sleep 60")
        worn = mark.encode(mark.Mark(nonce_of(manager.session.home), int(victim.id), 1))
        wear = f"import os, resource, time\nresource.setrlimit(10, ({worn}, -1))\n"
        thief = await manager.start(
            python(wear + DAEMON.replace(BARE, "os.execv('/bin/sleep', ['sleep', '60'])\n"))
        )
        await thief.wait(timeout=30)
        await counted(victim, 2)
        report = await victim.stop()
        assert [one.name for one in report.processes] == ["sleep", "sleep"]
        assert "has the mark of this job, but" in str(report.note)
        assert str(report.note).endswith(f"points to job {thief.id}")


async def test_who_says_in_the_midst_of_a_job_that_it_is_of_another_home_is_in_doubt() -> None:
    async with opened() as manager:
        worn = mark.encode(mark.Mark(1 + nonce_of(manager.session.home) % 1000, 1, 1))
        wear = f"import os, resource, time\nif os.fork() == 0:\n resource.setrlimit(10, ({worn}, -1))\n print(os.getpid(), flush=True)\n"
        handle = await manager.start(python(wear + SLEEP))

        async def is_said() -> bytes:
            return await handle.stdout()

        await eventually_so(is_said, "it to wear the mark")  # type: ignore[arg-type]
        pid = int(await handle.stdout())
        try:
            report = await handle.stop()
            assert len(report.processes) == 1
            assert [one.pid for one in report.in_doubt] == [pid]
        finally:
            os.kill(pid, signal.SIGKILL)


async def test_a_program_without_a_mark_of_a_stranger_is_nobody_s() -> None:
    """One of ours with no way at all that speaks for the job, while it is counted and stopped."""
    import subprocess

    with subprocess.Popen(quick_python("import time; time.sleep(60)"), start_new_session=True) as stranger:
        try:
            async with opened() as manager:
                handle = await manager.start(python(TAKE_OFF + SLEEP))
                were = await counted(handle, 1)
                await assert_ended(handle, were)
            assert stranger.poll() is None
            assert mark.read(stranger.pid) is None
        finally:
            stranger.kill()
