from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import sys
from pathlib import Path

import pytest
from msgspec import structs

from corral.diagnosis.program_stacks import MOST_FRAMES, informative_frames, python_stacks
from corral.model.reports import Diagnosis, Frame, PythonStack, Root, Wait
from corral.monitor import stack_capture
from corral.monitor.stack_capture import StackCapture
from corral.platform.files.hanging_mounts import HangingMounts
from corral.platform.host.procfs import HAS_PROCFS, pids, read_stat
from corral.platform.inspect import py_spy
from corral.platform.process.helper_process import HelperOutput, run_helper
from corral.waits.process_wait import wait_of
from managers import eventually_so, opened
from until import python, running, until

LINUX = pytest.mark.skipif(not HAS_PROCFS, reason="Python programs are known by /proc")
LIBRARY = "/usr/lib/python3.11/threading.py"


def own(line: int) -> Frame:
    return Frame("/srv/app.py", line, f"f{line}")


def library(line: int) -> Frame:
    return Frame(LIBRARY, line, f"l{line}")


def test_what_started_it_all_says_nothing():
    assert informative_frames((library(1), own(2), library(3))) == (library(1), own(2))
    assert informative_frames((library(1), library(2))) == (library(1), library(2))


def test_own_code_goes_before_that_of_libraries():
    deep = (*(library(n) for n in range(20)), *(own(n) for n in range(20, 25)), library(30))
    assert informative_frames(deep) == (library(0), library(1), library(2), *(own(n) for n in range(20, 25)))
    long = tuple(own(n) for n in range(20))
    assert informative_frames(long) == long[:MOST_FRAMES]


@pytest.mark.parametrize(
    "file",
    [
        LIBRARY,
        "/home/a/.venv/lib/python3.13/site-packages/x.py",
        "<frozen runpy>",
        "/usr/lib/python311.zip/a.py",
    ],
)
def test_files_that_are_not_own(file):
    assert informative_frames((own(1), Frame(file, 2, "x"), own(3))) == (own(1), Frame(file, 2, "x"), own(3))
    assert informative_frames((own(1), Frame(file, 2, "x"))) == (own(1),)


def dumped(tid: int, *frames: Frame, name: str | None = None) -> dict[str, object]:
    told = [{"name": f.function, "filename": f.file, "line": f.line, "module": None} for f in frames]
    return {"pid": 7, "os_thread_id": tid, "thread_name": name, "frames": told, "active": False}


def test_first_thread_first_and_text_is_data():
    dump = json.dumps([dumped(9, own(1), name="a\ab"), dumped(7, own(2)), dumped(8)]).encode()
    first, second = python_stacks(dump, 7, 1, "python")
    assert (first.thread, first.frames) == (7, (own(2),))
    assert (second.thread, second.thread_name) == (9, "a␇b")
    for nonsense in (b"", b"{}", b'[{"frames": 5}]', b"\xff"):
        with pytest.raises(ValueError, match=r"."):
            python_stacks(nonsense, 7, 1, "python")


@LINUX
def test_python_programs_are_known_by_what_they_run():
    with running(*python("import time; time.sleep(60)")) as program, running("sleep", "60") as sleep:
        until(lambda: py_spy.is_python(program.pid), "the exec")
        until(lambda: os.readlink(f"/proc/{sleep.pid}/exe").endswith("sleep"), "the other exec")
        assert not py_spy.is_python(sleep.pid)
    assert not py_spy.is_python(program.pid)


def reap() -> None:
    """What the daemon does with children that have ended; the tests here see to theirs."""


# ---- running it ---------------------------------------------------------------------------------------------------


def program(folder: Path, script: str) -> str:
    """A py-spy of the test's own."""
    path = folder / "py-spy"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def why(pid: int, name: str = "python", health: str | None = "stuck") -> Diagnosis:
    wait = Wait(stage=1, pid=pid, name=name, kind="timer", detail="waits")
    return Diagnosis(
        id="1",
        health=health,  # type: ignore[arg-type]
        since=None,
        summary="",
        waits=(wait,),
        root=Root(stage=1, pid=pid, kind="timer"),
    )


def spied(pid: int, path: str | None, **values: object) -> Diagnosis:
    return asyncio.run(StackCapture(reap, HangingMounts("/")).add_stacks(why(pid, **values), {pid}, path))  # type: ignore[arg-type]


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No py-spy beside the interpreter of the tests."""
    monkeypatch.setattr(py_spy, "beside_interpreter", lambda: None)


@LINUX
@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'Permission Denied: Try again' >&2; exit 1", "sudo"),
        ("echo 'Error: no version' >&2; exit 1", "py-spy said: Error: no version"),
        ("exit 1", "py-spy said: nothing at all"),
        ("echo nonsense", "not understood"),
        ("exec sleep 60", "took longer"),
        ("exec yes", "said too much"),
    ],
)
def test_what_py_spy_cannot_tell_is_said(tmp_path, monkeypatch, script, words):
    monkeypatch.setattr(stack_capture, "SECONDS", 0.3 if "sleep" in script else 20)
    path = program(tmp_path, script)
    found = spied(os.getpid(), path)
    assert found.stacks == ()
    (said,) = found.not_looked_at
    assert said.startswith(f"the Python stack of python ({os.getpid()}): ")
    assert words in said


@LINUX
@pytest.mark.usefixtures("alone")
def test_without_py_spy_it_is_said_where_it_would_help(tmp_path, monkeypatch):
    assert "pip install py-spy" in spied(os.getpid(), None).not_looked_at[0]
    assert spied(os.getpid(), None, health="active").not_looked_at == ()
    replaceable = program(tmp_path, "echo '[]'")
    os.chmod(replaceable, stat.S_IRWXU | stat.S_IRWXG | stat.S_IRWXO)
    assert "written by others" in spied(os.getpid(), replaceable).not_looked_at[0]
    monkeypatch.setattr(py_spy, "beside_interpreter", lambda: replaceable)
    (tmp_path / "sub").mkdir()
    assert spied(os.getpid(), program(tmp_path / "sub", "echo '[]'")).not_looked_at == ()
    with running("sleep", "60") as other:
        until(lambda: os.readlink(f"/proc/{other.pid}/exe").endswith("sleep"), "the exec")
        assert spied(other.pid, None) == why(other.pid)


@LINUX
@pytest.mark.usefixtures("alone")
def test_of_many_programs_some_are_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(py_spy, "is_python", lambda _: True)
    one = why(os.getpid())
    many = structs.replace(one, waits=one.waits * 20)
    path = program(tmp_path, f"echo x >> {tmp_path}/runs; echo '{json.dumps([dumped(1, own(1))])}'")
    found = asyncio.run(StackCapture(reap, HangingMounts("/")).add_stacks(many, {os.getpid()}, path))
    assert (tmp_path / "runs").read_text() == "x\n" * stack_capture.MOST_PROCESSES
    assert found.not_looked_at == (f"the Python stacks of all but {stack_capture.MOST_PROCESSES} programs",)


@LINUX
@pytest.mark.usefixtures("alone")
def test_one_that_has_not_run_is_not_looked_at_twice(tmp_path):
    line = json.dumps([dumped(1, own(1))])
    path = program(tmp_path, f"echo x >> {tmp_path}/runs; echo '{line}'")

    async def twice(pid: int) -> tuple[Diagnosis, Diagnosis]:
        spy = StackCapture(reap, HangingMounts("/"))
        return await spy.add_stacks(why(pid), {pid}, path), await spy.add_stacks(why(pid), {pid}, path)

    with running(*python("import signal; signal.pause()")) as still:
        until(lambda: (wait := wait_of(still.pid)) is not None and wait.call == "pause", "the pause")
        first, second = asyncio.run(twice(still.pid))
        assert first.stacks
        assert first == second
        assert (tmp_path / "runs").read_text() == "x\n"


def test_relative_entries_of_the_path_are_passed_over(tmp_path, monkeypatch):
    path = program(tmp_path, "")
    monkeypatch.chdir(tmp_path)
    assert py_spy.on_path([".", "", "sub/.."]) is None
    assert py_spy.on_path([".", str(tmp_path)]) == path


def test_helper_gets_nothing_of_ours_and_leaves_nothing(monkeypatch):
    monkeypatch.setenv("SECRET", "x")
    before = set(os.listdir(f"/proc/{os.getpid()}/fd")) if HAS_PROCFS else set()
    printed = asyncio.run(run_helper(["/bin/sh", "-c", "pwd; cat; echo $SECRET$PATH >&2"], 20, 1000, reap))
    assert printed.is_whole
    assert (printed.out, printed.err) == (b"/\n", f"{os.defpath}\n".encode())
    if HAS_PROCFS:
        assert set(os.listdir(f"/proc/{os.getpid()}/fd")) == before
        printed = asyncio.run(run_helper(["/bin/sh", "-c", "echo $$"], 20, 1000, reap))
        assert read_stat(int(printed.out)) is None, "it was not reaped"


@LINUX
def test_helper_that_does_not_end_is_ended_by_its_own_alarm():
    async def left_alone() -> HelperOutput:
        reaped = asyncio.Event()
        printed = await run_helper(["/bin/sh", "-c", "echo $$; exec sleep 60"], 0.1, 1000, reaped.set)
        await asyncio.wait_for(reaped.wait(), 20)
        return printed

    printed = asyncio.run(left_alone())
    assert not printed.is_whole
    until(lambda: (stat := read_stat(int(printed.out))) is None or stat.has_ended, "its end")
    os.waitpid(int(printed.out), 0)


@LINUX
@pytest.mark.skipif(not (py_spy.beside_interpreter() or py_spy.on_path()), reason="py-spy is not installed")
def test_real_stacks_and_the_program_goes_on():
    code = "import signal\nsignal.pthread_sigmask(0, [signal.SIGUSR1])\ndef waits():\n    signal.sigwait([signal.SIGUSR1])\nwaits(); print('on')"
    with running(sys.executable, "-c", code, stdout=-1) as child:
        until(
            lambda: (wait := wait_of(child.pid)) is not None and wait.kind == "unknown",
            "the wait for a signal",
        )
        found = spied(child.pid, py_spy.on_path())
        assert found.not_looked_at == ()
        frames = [(f.file, f.line, f.function) for f in found.stacks[0].frames if f.file == "<string>"]
        assert frames == [("<string>", 4, "waits"), ("<string>", 5, "<module>")]
        wait = wait_of(child.pid)
        assert wait is not None
        assert wait.state == "S"
        os.kill(child.pid, signal.SIGUSR1)
        assert child.wait(20) == 0  # it was not left stopped


@LINUX
@pytest.mark.skipif(not (py_spy.beside_interpreter() or py_spy.on_path()), reason="py-spy is not installed")
async def test_a_job_is_told_with_its_stacks():
    code = "import signal\ndef waits():\n    signal.pause()\nwaits()"
    async with opened() as manager:
        handle = await manager.start([sys.executable, "-c", code])

        async def stood() -> tuple[PythonStack, ...]:
            found = (await handle.why()).stacks
            return found if found and found[0].frames[0].function == "waits" else ()

        (stack,) = await eventually_so(stood, "the program to stand in its function")
        job = await handle.snapshot()
        assert (stack.pid, stack.stage, stack.name) == (job.stages[0].pid, 1, job.stages[0].name[:15])
        assert [frame.line for frame in stack.frames] == [3, 4]
        assert job.processes == 1
        hello = manager.session.hello
        assert hello is not None
        below = [stat for pid in pids() if (stat := read_stat(pid)) is not None and stat.ppid == hello.pid]
        assert [stat.pid for stat in below] == [stack.pid], "py-spy was not reaped"
