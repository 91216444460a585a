"""What a client sees of a batch that another process runs."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from corral.batch.batch_files import (
    CLAIMED,
    LETTER_OF,
    RETRYING,
    SKIPPED,
    BatchFiles,
    Entry,
    InputRecord,
)
from corral.batch.batch_outputs import JobOutput, StateWatch, output_of
from corral.model.batch import BatchInput
from corral.model.home import Home

_SUCCEEDED, _FAILED = LETTER_OF["succeeded"], LETTER_OF["failed"]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "jobs").mkdir(mode=0o700)
    return Home(str(tmp_path))


@pytest.fixture
def written(home: Home) -> Iterator[BatchFiles]:
    opened = BatchFiles(home, 12, is_writer=True)
    yield opened
    opened.close()


@pytest.fixture
def seen(home: Home, written: BatchFiles) -> Iterator[BatchFiles]:
    opened = BatchFiles(home, 12)
    yield opened
    opened.close()


def _add(files: BatchFiles, count: int) -> None:
    files.add_inputs([BatchInput(str(number), (str(number),)) for number in range(count)], 0)


def test_each_end_is_seen_once(written: BatchFiles, seen: BatchFiles) -> None:
    watch = StateWatch(seen)
    assert watch.look() == []
    _add(written, 10)
    written.set_state(2, CLAIMED)
    written.set_state(3, CLAIMED)
    assert watch.look() == []
    assert watch.running() == [2, 3]
    assert watch.is_running(2)
    written.set_state(3, _SUCCEEDED)
    written.set_state(2, RETRYING)
    assert watch.look() == [3]
    assert (watch.is_over(3), watch.is_over(2), watch.is_over(9), watch.is_over(99)) == (
        True,
        False,
        False,
        False,
    )
    written.set_state(2, CLAIMED)
    assert watch.look() == []
    written.set_state(2, _FAILED)
    written.set_state(9, SKIPPED)
    assert watch.look() == [2, 9]
    assert watch.look() == watch.running() == []
    assert (watch.count(_SUCCEEDED, _FAILED), watch.count(SKIPPED), watch.count(CLAIMED)) == (2, 1, 0)


def test_many_ends_in_any_order(written: BatchFiles, seen: BatchFiles) -> None:
    count = 30_000
    _add(written, count)
    order = list(range(1, count + 1))
    random.Random(7).shuffle(order)
    watch, found = StateWatch(seen), list[int]()
    for start in range(0, count, 5_000):
        for number in order[start : start + 5_000]:
            written.set_state(number, _SUCCEEDED)
        found += watch.look()
        assert all(watch.is_over(number) for number in order[: start + 5_000 : 97])
    assert sorted(found) == list(range(1, count + 1))
    assert watch.count(_SUCCEEDED) == count


def test_where_the_output_of_a_job_is(home: Home, written: BatchFiles, seen: BatchFiles) -> None:
    _add(written, 5)
    assert output_of(seen, home, 12, 1, 1) == JobOutput()
    written.set_state(1, CLAIMED)
    in_files = (f"{home.jobs}/12/1/stdout", f"{home.jobs}/12/1/stderr.1")
    assert output_of(seen, home, 12, 1, 1) == JobOutput(paths=in_files)

    def end(number: int, entry: Entry | None, output: bytes = b"", state: bytes = _SUCCEEDED) -> JobOutput:
        at, size = written.add_entry(entry, output) if entry is not None else (0, 0)
        before: InputRecord = written.record(number)
        written.write(number, before._replace(entry_at=at, entry_bytes=size), state)
        return output_of(seen, home, 12, number, 1)

    assert end(1, Entry(sizes=(5000, 3), dropped=(7, 0))) == JobOutput(
        paths=in_files, is_over=True, dropped=(7, 0)
    )
    assert end(2, Entry(sizes=(3, 2), is_packed=True), b"outer") == JobOutput((b"out", b"er"), is_over=True)
    assert end(3, None) == JobOutput(is_over=True)
    assert end(4, Entry(reason="exit 3", sizes=(0, 0)), state=_FAILED) == JobOutput(is_over=True)
    assert end(5, Entry(sizes=(3, 0), is_packed=True), b"out", state=RETRYING) == JobOutput((b"out", b""))
