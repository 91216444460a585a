"""Batches as Python programs use them: jobs as they end, inputs taken as needed, what fails named."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import corral
from corral.library.batch import as_input
from corral.model.errors import NotSoError, UsageError, WrongTypeError
from managers import eventually_so


def test_jobs_are_given_as_they_end_with_what_they_printed() -> None:
    async def main() -> None:
        async with corral.open() as manager:
            batch = manager.each("echo {} {#}", ["a", "b c", "*", "-n"], jobs=2)
            ended = {job.input: job async for job in batch}
            assert {job.state for job in ended.values()} == {"succeeded"}
            assert {job.batch for job in ended.values()} == {batch.id}
            printed = {given: await manager.job(job.id).stdout() for given, job in ended.items()}
            assert printed == {"a": b"a 1\n", "b c": b"b c 2\n", "*": b"* 3\n", "-n": b"4"}
            assert (await batch.wait()).state == "succeeded"

    asyncio.run(main())


def test_long_output_and_stderr_are_found_too() -> None:
    async def main() -> None:
        async with corral.open() as manager:
            line = "seq {}; echo err {} >&2"
            batch = manager.each(line, [5, 5000], shell=True)
            await batch.wait()
            long = manager.job(f"{batch.id}.2")
            assert (await long.stdout()).endswith(b"5000\n")
            assert await long.stderr() == b"err 5000\n"
            short = manager.job(f"{batch.id}.1")
            assert await short.stderr(1) == b"err 5\n"
            assert sorted((await short.output()).split()) == sorted(b"1 2 3 4 5 err 5".split())
            assert b"".join([part async for part in short.follow()]) == b"1\n2\n3\n4\n5\n"

    asyncio.run(main())


def test_endless_inputs_are_taken_as_needed() -> None:
    taken: list[int] = []

    def numbers() -> Iterator[int]:
        for number in itertools.count():
            taken.append(number)
            yield number

    async def main() -> None:
        async with corral.open() as manager:
            batch = manager.each("true", numbers(), jobs=2)
            seen = 0
            async for _ in batch:
                seen += 1
                if seen == 150:
                    break
            assert len(taken) < 1000
            report = await batch.stop()
            assert report.nothing_is_left
            ended = await batch.wait()
            assert (ended.state, ended.exit_status) == ("stopped", 143)

    asyncio.run(main())


def test_what_the_inputs_raise_is_raised_once_those_before_have_run(tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[list[str]]:
        yield ["a", "1"]
        yield ["b", "2"]
        raise RuntimeError("no more of these")

    async def main() -> None:
        async with corral.open() as manager:
            batch = manager.each(f"touch {tmp_path}/{{1}}{{2}}", broken())
            with pytest.raises(RuntimeError, match="no more of these"):
                await batch.wait()

    asyncio.run(main())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a1", "b2"]


def test_progress_failures_and_retries() -> None:
    async def main() -> None:
        async with corral.open() as manager:
            batch = manager.each("sh -c 'exit {}'", [0, 1, 0, 2], retries=1, retry_delay=0.01)
            with pytest.raises(NotSoError):
                _ = batch.id
            ended = await batch.wait()
            assert (ended.state, ended.exit_status, ended.reason) == ("failed", 2, "2 of 4 failed")
            failed = await batch.failures()
            assert [(job.input, job.exit_status, job.attempt) for job in failed] == [("1", 1, 2), ("2", 2, 2)]
            assert [len(job.attempts) for job in failed] == [1, 1]
            progress = await batch.progress()
            assert (progress.total, progress.succeeded, progress.failed, progress.retried) == (4, 2, 2, 2)
            causes = [(group.cause, group.count) for group in (await batch.snapshot()).failures]
            assert sorted(causes) == [("exit 1", 1), ("exit 2", 1)]

    asyncio.run(main())


def test_a_batch_is_seen_while_it_runs() -> None:
    async def main() -> None:
        async with corral.open() as manager:
            batch = manager.each("sleep", [60] * 3, jobs=2)

            async def run_two() -> bool:
                return (await batch.progress()).running == 2

            await eventually_so(run_two, "two jobs to run")
            listed = await manager.jobs()
            assert [(job.id, job.kind, job.state) for job in listed] == [(batch.id, "batch", "running")]
            one = manager.job(f"{batch.id}.1")
            assert (await one.snapshot()).state == "running"
            assert (await one.stop()).nothing_is_left
            with pytest.raises(TimeoutError):
                await batch.wait(timeout=0.1)
        (report,) = manager.reports
        assert (report.id, report.nothing_is_left) == (batch.id, True)

    asyncio.run(main())


def test_what_makes_no_sense_is_refused_and_nothing_is_started() -> None:
    async def main() -> None:
        async with corral.open() as manager:
            for inputs in ("text", b"bytes", 5):
                with pytest.raises(WrongTypeError):
                    manager.each("echo", inputs)  # type: ignore[arg-type]
            with pytest.raises(UsageError, match="jobs"):
                manager.each("echo", ["a"], jobs=0)
            with pytest.raises(UsageError, match="stdin"):
                manager.each("echo", ["a"], stdin="interactive")
            with pytest.raises(UsageError, match="where the input goes"):
                await manager.each("cat | cat", ["a"]).wait()
            with pytest.raises(corral.CannotStartError) as error:
                await manager.each("no-such-program {}", ["a"]).wait()
            assert error.value.status == 127
            assert await manager.jobs(all=True) == ()

    asyncio.run(main())


def test_inputs_are_text_paths_numbers_and_lists_of_these() -> None:
    assert as_input(Path("/a b")) == ("/a b", ("/a b",))
    assert as_input(5) == ("5", ("5",))
    assert as_input(["a", 2, Path("c")]) == ("a 2 c", ("a", "2", "c"))
    for wrong in (None, True, object(), {"a": 1}, "a\0b"):
        with pytest.raises(UsageError):
            as_input(wrong)
