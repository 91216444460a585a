"""What a batch keeps on disk of its inputs and of what became of them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corral.batch.batch_files import (
    CLAIMED,
    QUEUED,
    RETRYING,
    SKIPPED,
    BatchFiles,
    Entry,
    InputRecord,
    packed_streams,
)
from corral.model.batch import Attempt, BatchInput
from corral.model.home import Home
from corral.model.wire import to_wire


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "jobs").mkdir(mode=0o700)
    return Home(str(tmp_path))


@pytest.fixture
def files(home: Home) -> Iterator[BatchFiles]:
    opened = BatchFiles(home, 12, is_writer=True)
    yield opened
    opened.close()


def given_texts(*texts: str) -> list[BatchInput]:
    return [BatchInput(text, (text,)) for text in texts]


def test_inputs_come_back_as_they_were_given(files: BatchFiles) -> None:
    odd = to_wire(os.fsdecode(b"not utf-8 \xff"))
    first = files.add_inputs(given_texts("a b", "", "new\nline", odd), 0)
    assert files.add_inputs([BatchInput("x\ty", ("x", "y"))], first) == files.total == 5
    assert [files.input(number).text for number in range(1, 6)] == ["a b", "", "new\nline", odd, "x\ty"]
    assert files.input(5).columns == ("x", "y")
    assert files.input(2) == BatchInput("", ("",))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(st.text(st.characters(exclude_characters="\0")), min_size=1, max_size=3), max_size=5)
)
def test_no_input_is_changed_by_being_kept(files: BatchFiles, columns: list[list[str]]) -> None:
    inputs = [BatchInput(" ".join(parts), tuple(map(to_wire, parts))) for parts in columns]
    inputs = [BatchInput(to_wire(each.text), each.columns) for each in inputs]
    before = files.total
    files.add_inputs(inputs, before)
    assert [files.input(before + number) for number in range(1, len(inputs) + 1)] == inputs


def test_an_input_that_there_is_not_has_no_record(files: BatchFiles) -> None:
    files.add_inputs(given_texts("a"), 0)
    for number in (0, -1, 2):
        with pytest.raises(IndexError):
            files.record(number)


def test_states_are_counted_and_found(files: BatchFiles) -> None:
    count = 70_000  # more than a page of states
    files.add_inputs(given_texts(*map(str, range(count))), 0)
    assert files.counts() == {QUEUED: count}
    for number in (1, 3, count):
        files.set_state(number, b"f")
    files.set_state(2, SKIPPED)
    counts = files.counts()
    assert (counts[b"f"], counts[SKIPPED], counts[QUEUED]) == (3, 1, count - 4)
    assert list(files.numbers_in(b"f")) == [1, 3, count]
    assert list(files.numbers_in(b"fk", after=1)) == [2, 3, count]
    assert files.state(count) == b"f"
    assert files.state(count - 1) == QUEUED


def test_a_run_is_found_by_its_number(files: BatchFiles) -> None:
    files.add_inputs(given_texts(*map(str, range(3000))), 0)
    run = (1 << 31) + 77
    files.write(2500, files.record(2500)._replace(run=run), CLAIMED)
    assert files.number_of_run(run) == 2500
    assert files.number_of_run(run + 1) is None


def test_a_result_comes_back_with_its_output(files: BatchFiles) -> None:
    files.add_inputs(given_texts("a", "b"), 0)
    entry = Entry(reason="exited with 9", sizes=(3, 4), is_packed=True, attempts=(Attempt(number=1),))
    at, length = files.add_entry(entry, b"outerr\n")
    files.write(2, files.record(2)._replace(exit_status=9, entry_at=at, entry_bytes=length), b"f")
    kept, output = files.entry(files.record(2))
    assert kept == entry
    assert packed_streams(kept, output) == [b"out", b"err\n"]
    assert files.entry(files.record(1)) == (Entry(), b"")
    assert files.input(2).text == "b"


def test_causes_are_kept_in_order(files: BatchFiles) -> None:
    for cause in ("exit 9: no N", "exit 1: two\nlines"):
        files.add_cause(cause)
    assert files.causes() == ["exit 9: no N", "exit 1: two lines"]


def test_what_was_written_survives_a_kill(home: Home) -> None:
    pid = os.fork()
    if pid == 0:
        writer = BatchFiles(home, 12, is_writer=True)
        writer.add_inputs(given_texts("a", "b", "c"), 0)
        writer.write(1, writer.record(1)._replace(attempt=1, exit_status=0), b"+")
        writer.write(2, writer.record(2)._replace(attempt=1, run=1 << 31), RETRYING)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    found = BatchFiles(home, 12, is_writer=True)
    try:
        assert found.total == 3
        assert [found.state(number) for number in (1, 2, 3)] == [b"+", RETRYING, QUEUED]
        assert found.record(2).run == 1 << 31
        assert found.add_inputs(given_texts("d"), 3) == 4
        assert [found.input(number).text for number in (1, 3, 4)] == ["a", "c", "d"]
    finally:
        found.close()


def test_a_reader_makes_nothing(home: Home) -> None:
    with pytest.raises(FileNotFoundError):
        BatchFiles(home, 13)
    assert list(Path(home.jobs).iterdir()) == []


def test_a_job_that_printed_nothing_takes_less_than_70_bytes(files: BatchFiles) -> None:
    files.add_inputs(given_texts(*["x"] * 1000), 0)
    for number in range(1, 1001):
        files.write(number, files.record(number)._replace(attempt=1, exit_status=0), b"+")
    used = sum(each.stat().st_size for each in Path(files.folder).iterdir())
    assert used == 1000 * (1 + 68 + 1)


def test_a_symlink_in_place_of_a_file_is_refused(home: Home, tmp_path: Path) -> None:
    folder = Path(home.job(12))
    folder.mkdir()
    (folder / "inputs").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError):
        BatchFiles(home, 12, is_writer=True)
    assert not (tmp_path / "elsewhere").exists()


def test_records_of_different_numbers_do_not_touch(files: BatchFiles) -> None:
    files.add_inputs(given_texts("a", "b"), 0)
    first = files.record(1)._replace(
        run=(1 << 32) - 1,
        started=1.5,
        ended=2.5,
        slot=65535,
        exit_status=255,
        cpu_seconds=0.5,
        peak_memory=1 << 40,
    )
    files.write(1, first, b"f")
    assert files.record(1) == first
    assert files.record(2) == InputRecord(input_at=1, input_bytes=1)
