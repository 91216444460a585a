"""What a program asks of the library: every option checked before anything is asked or started, and named if refused."""

from __future__ import annotations

import asyncio
import collections
import datetime as dt
import decimal
import enum
import inspect
import os
import pickle
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import corral
from corral.library.options import Options
from managers import opened


class _Word(str):
    """A str of a program's own, as numpy's and pandas' are."""

    def __str__(self) -> str:
        return "something else"


class _Level(enum.IntEnum):
    LOW = 1


class _Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("this cannot be shown")


_UTC = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
NOT_FINITE = (float("nan"), float("inf"), -float("inf"))
ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 3.5, 2.0, -0.1, 10**30, 10**5000, *NOT_FINITE,
    "", "x", "1", "-1", "5s", "true", "a b", "@", "\0", "\ud800", "\udcff", "é" * 200, "x" * 100_000, "9" * 5000, "٣",
    b"", b"x", bytearray(b"x"), memoryview(b"x"), memoryview(b"xyxy").cast("I"),
    _Word("true"), _Level.LOW, signal.SIGTERM, signal.SIGKILL, subprocess.PIPE, subprocess.DEVNULL,
    Path("/"), Path("no/such"), Path("/usr/bin/env"), decimal.Decimal("1.5"), 1j,
    _UTC, _UTC.replace(tzinfo=None), dt.timedelta(seconds=1),
    [], (), {}, set(), ["true"], ["true", 5], ["true", b"x"], [None], ["true", Path("x")], [["true"], ["true"]],
    {"A": "b"}, {"A": 5}, {b"A": b"b"}, {"A=": "b"}, {"A\0": "b"}, range(3), collections.deque(["true"]),
    object(), _Hostile(), len, int, asyncio.sleep, corral,
    corral.Pipeline(stages=(corral.Command(argv=("true",)),)),
    corral.Pipeline(stages=()),
    corral.Pipeline(stages=(corral.Command(argv=()),)),
    corral.Pipeline(stages=(corral.Command(argv=("true", b"x")),)),  # type: ignore[arg-type]
    corral.Pipeline(stages=5),  # type: ignore[arg-type]
    corral.Pipeline(stages=(corral.Command(argv=("true",), redirections=(corral.Redirection(7, "odd"),)),)),  # type: ignore[arg-type]
)  # fmt: skip
"""And generators, which are made anew for each call."""


def _odd_values() -> Iterator[Any]:
    yield from ODD
    yield (word for word in ["true", "true"])
    yield (number for number in range(2))


async def _outcome(call: Callable[..., Any], *arguments: Any, **options: Any) -> corral.CorralError | None:
    """What came of a call. It has to come soon, and an error is one of Corral's, in one line."""
    try:
        async with asyncio.timeout(20):
            result = call(*arguments, **options)
            if inspect.isawaitable(result):
                await result
    except corral.CorralError as caught:
        error = caught
    else:
        return None
    assert "not a request" not in str(error)
    assert "\n" not in str(error)
    assert len(str(error)) < 700
    return error


@pytest.mark.parametrize(
    ("verb", "names"),
    [
        ("start", ("command", *Options.__annotations__)),
        ("start_many", ("command", "after")),
        ("run", ("command", "input", "check")),
    ],
)
async def test_no_value_of_any_option_hangs_or_gives_an_internal_error(
    verb: str, names: tuple[str, ...]
) -> None:
    """Whatever is refused has started nothing."""
    known = 0
    async with opened() as manager:
        for name in names:
            for value in _odd_values():
                options = {name: value} if name != "command" else {}
                command = value if name == "command" else ["true"] if verb == "start_many" else "true"
                error = await _outcome(getattr(manager, verb), command, **options)
                before, known = known, len(await manager.jobs(all=True))
                if isinstance(error, corral.UsageError):
                    assert known == before, (name, value)
                    assert name in str(error) or name in ("command", "cwd", "env"), error
        await manager.stop([manager.job(job.id) for job in await manager.jobs()], grace=0)


async def test_no_value_of_any_argument_hangs_or_gives_an_internal_error() -> None:
    """Of every other method of a manager and its jobs."""
    async with opened() as manager:
        job = await manager.start("cat", stdin="interactive")
        ended = await manager.start("true")
        await ended.wait()
        calls: dict[str, Callable[[Any], Any]] = {
            "job_id": lambda value: manager.job(value).snapshot(),
            "all": lambda value: manager.jobs(all=value),
            "handles": lambda value: manager.wait(value),
            "handles ": lambda value: manager.stop(value),
            "any": lambda value: manager.wait([ended], any=value),
            "timeout": lambda value: manager.wait([ended], timeout=value),
            "grace": lambda value: manager.stop([ended], grace=value),
            "timeout ": lambda value: ended.wait(value),
            "signal": lambda value: ended.stop(signal=value),
            "grace ": lambda value: ended.stop(grace=value),
            "signal ": lambda value: ended.signal(value),
            "tree": lambda value: job.signal("CONT", tree=value),
            "stage": lambda value: job.signal("CONT", stage=value),
            "stage ": lambda value: job.stderr(value),
            "data": lambda value: job.send(value),
            "parallel": lambda value: corral.open(parallel=value),
            "home": lambda value: corral.connect(value),
        }
        for name, call in calls.items():
            for value in _odd_values():
                error = await _outcome(call, value)
                if isinstance(error, corral.UsageError) and "has no stage" not in str(error):
                    assert name.strip() in str(error), error
        assert (await job.snapshot()).state == "running"
        assert len(await manager.jobs(all=True)) == 2


REFUSALS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"timout": 0.2}, "timout=0.2: no such option; did you mean timeout? There are name, cwd, env, "),
    ({"text": True}, "text=True: no such option; stdout and stderr are always kept, as bytes (Result, "),
    ({"shel": True}, "shel=True: no such option; did you mean shell? There are name, cwd, env, "),
    ({"colour": True}, "colour=True: no such option; there are name, cwd, env, "),
    ({"timeout": "5s"}, "timeout='5s': expected seconds, a number above 0 "),
    ({"timeout": float("nan")}, "timeout=nan: expected seconds, "),
    ({"on_stuck": "kill"}, "on_stuck='kill': expected 'mark' or 'stop'"),
    ({"max_output": 1e6}, "max_output=1000000.0: expected bytes, a whole number "),
    ({"env": {"PORT": 8080}}, "env: the value of 'PORT' is of type int: expected a str"),
    ({"stop_signal": "TREM"}, "stop_signal: no such signal: 'TREM': did you mean TERM?"),
    ({"after": "build"}, "after='build': expected jobs of this manager, such as [job]"),
    ({"stdin": subprocess.PIPE}, "stdin=-1: expected a path, 'interactive', a job of this manager, "),
    ({"input": "text"}, "input of type str: expected bytes, a bytearray or a memoryview; of text its .encode()"),
)  # fmt: skip


async def test_a_refusal_names_the_option_what_was_given_and_what_was_expected() -> None:
    async with opened() as manager:
        for options, message in REFUSALS:
            with pytest.raises(corral.UsageError) as refused:
                await manager.run("cat", **options)
            assert str(refused.value).startswith(message)
        assert await manager.jobs(all=True) == ()


async def test_a_wrong_type_is_a_type_error_too() -> None:
    async with opened() as manager:
        with pytest.raises(TypeError):
            await manager.run("cat", input="text")  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            corral.open(parallel="2")  # type: ignore[arg-type]
        job = await manager.start("cat", stdin="interactive")
        with pytest.raises(TypeError):
            await job.send("text")  # type: ignore[arg-type]


@pytest.mark.parametrize("parallel", [0, -1, True, 1.0])
def test_a_number_of_parallel_jobs_that_would_leave_them_queued_is_refused(parallel: Any) -> None:
    with pytest.raises(
        corral.UsageError, match=r"parallel=.*: expected how many jobs may run at a time, from 1 on"
    ):
        corral.open(parallel=parallel)


async def test_what_is_meant_by_a_signal_a_path_or_bytes_is_taken(tmp_path: Path) -> None:
    async with opened() as manager:
        job = await manager.start(["cat", Path("/dev/zero")], stop_signal=signal.SIGINT)
        await job.signal(signal.SIGCONT)
        assert (await job.snapshot()).stop_signal == "INT"
        assert (await job.stop(signal=signal.SIGTERM)).processes[0].ended_by == "TERM"
        (tmp_path / "names").write_bytes(b"of the file")
        assert (await manager.run("cat", stdin=Path("names"), cwd=tmp_path)).stdout == b"of the file"
        assert (await manager.run(Path("/bin/pwd"), cwd=tmp_path)).stdout == os.fsencode(tmp_path) + b"\n"
        words = memoryview(b"abcdefgh").cast("I")
        assert (await manager.run("cat", input=words)).stdout == b"abcdefgh"
        assert (await manager.run("cat", input=bytearray(b"x"))).stdout == b"x"
        assert (await manager.run(_Word("echo a word"))).stdout == b"a word\n"
        assert (await manager.run(["cat", _Word("names")], cwd=tmp_path)).stdout == b"of the file"


async def test_what_can_be_iterated_once_counts_for_each_of_many() -> None:
    async with opened() as manager:
        first = await manager.start("cat", stdin="interactive")
        many = await manager.start_many((["echo", str(n)] for n in range(2)), after=(job for job in [first]))
        assert [(await job.snapshot()).after for job in many] == [(first.id,)] * 2
        await first.close_stdin()
        assert [job.state for job in await manager.wait(many)] == ["succeeded"] * 2


async def test_one_that_makes_no_sense_keeps_all_of_many_from_being_started() -> None:
    """They are asked for in parts: the daemon would refuse the last one only once the others run."""
    async with opened() as manager:
        with pytest.raises(corral.UsageError, match=r"command\[0\]"):
            await manager.start_many([*[["true"]] * 501, ["tr\0ue"]])
        assert await manager.jobs(all=True) == ()


async def test_a_job_of_another_manager_is_not_taken_for_one_of_the_same_number() -> None:
    async with opened() as manager, opened() as other:
        stranger = await other.start("cat", stdin="interactive")
        job = await manager.start("cat", stdin="interactive")
        assert stranger.id == job.id
        for ask in (
            lambda: manager.start("cat", stdin=stranger),
            lambda: manager.start("cat", after=[stranger]),
            lambda: manager.wait([stranger], timeout=0),
            lambda: manager.stop([stranger]),
        ):
            with pytest.raises(corral.UsageError, match="<job 1> is a job of another manager"):
                await ask()
        assert (await job.snapshot()).state == "running"


async def test_nothing_to_wait_for_and_nothing_to_stop() -> None:
    async with opened() as manager:
        assert (await manager.wait([]), await manager.stop([])) == ((), ())


def test_an_error_survives_being_sent_to_another_process() -> None:
    """What a worker raises is pickled; one that cannot be read back breaks the pool it came from."""
    job = corral.Job(id="7", name=None, command="false", cwd="/", created=_UTC, state="failed", exit_status=1)
    for error in (
        corral.JobError(corral.Result(job, b"out", b"err")),
        corral.OutputDroppedError("7", 5),
        corral.CannotStartError("no such program: x", 127, "7"),
        corral.WrongTypeError("no"),
        corral.NotOpenError("no"),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
