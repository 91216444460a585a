"""Which job of a batch is next, what is counted, and what another daemon makes of its files."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec import structs

from corral.batch.batch_files import CLAIMED, RETRYING, BatchFiles
from corral.batch.template import Template
from corral.commandline.parser import parse
from corral.jobs.managed_batch import ManagedBatch
from corral.lifecycle.batch_life import BatchLife, BatchStop
from corral.model.batch import FIRST_RUN, BatchInput, BatchSpec
from corral.model.home import Home
from corral.model.spec import JobSpec, Surroundings

NOW = 1_000_000.0


def opened(home: Home, texts: list[str], jobs: int = 2) -> ManagedBatch:
    pipeline = parse("echo {} {#} {%}")
    spec = BatchSpec(
        job=JobSpec(pipeline=pipeline, command="echo {} {#} {%}", name="enc"), jobs=jobs, retries=2
    )
    files = BatchFiles(home, 12, is_writer=True)
    total = files.add_inputs([BatchInput(text, (text,)) for text in texts], files.total)
    return ManagedBatch(
        id=12,
        spec=spec,
        surroundings=Surroundings({}, "/", 0o022),
        created=datetime(2026, 1, 1, tzinfo=UTC),
        template=Template(pipeline),
        files=files,
        life=BatchLife(jobs=jobs, has_all_inputs=True),
        total=total,
    )


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "jobs").mkdir(mode=0o700)
    return Home(str(tmp_path))


@pytest.fixture
def batch(home: Home) -> Iterator[ManagedBatch]:
    made = opened(home, ["a", "b c", "d"])
    yield made
    made.files.close()


def started(batch: ManagedBatch, run: int = FIRST_RUN) -> int:
    number = batch.take_number(NOW)
    assert number is not None
    batch.begin(number, run + number)
    batch.claim(number)
    return number


def ended(batch: ManagedBatch, number: int, state: bytes, exit_status: int = 0) -> None:
    record = batch.under_way[number].record._replace(ended=NOW, exit_status=exit_status)
    batch.end(number, record, state)


def test_jobs_come_into_being_in_the_order_of_their_inputs(batch: ManagedBatch) -> None:
    assert [started(batch), started(batch)] == [1, 2]
    job = batch.under_way[2].job
    assert (str(job.id), int(job.id), job.spec.command) == ("12.2", FIRST_RUN + 2, "echo 'b c' 2 2")
    assert job.batch_input is not None
    assert job.batch_input.text == "b c"
    assert not batch.has_room
    assert batch.files.state(2) == CLAIMED
    assert f"{job.id}" == "12.2"


def test_a_slot_is_given_again(batch: ManagedBatch) -> None:
    started(batch)
    started(batch)
    ended(batch, 1, b"+")
    assert started(batch) == 3
    assert batch.under_way[3].job.spec.command == "echo d 3 1"


def test_the_counts_add_up(batch: ManagedBatch) -> None:
    for number, state in ((started(batch), b"+"), (started(batch), b"f")):
        ended(batch, number, state)
    batch.skip(3)
    progress = batch.progress(0.0)
    assert (progress.total, progress.succeeded, progress.failed, progress.skipped, progress.queued) == (
        3,
        1,
        1,
        1,
        0,
    )
    assert batch.is_over
    assert batch.take_number(NOW) is None
    assert batch.progress(0.0).skipped == 1


def test_what_failed_is_tried_again_after_a_while(batch: ManagedBatch) -> None:
    ended(batch, started(batch), RETRYING, exit_status=9)
    assert batch.progress(0.0).queued == 3
    assert batch.take_number(NOW + 0.5) == 2
    assert batch.take_number(NOW + 1.5) == 1
    job = batch.begin(1, FIRST_RUN + 9)
    assert job.batch_input is not None
    assert [(each.number, each.exit_status) for each in job.batch_input.attempts] == [(1, 9)]
    batch.claim(1)
    ended(batch, 1, RETRYING, exit_status=9)
    assert batch.retries[0][0] == NOW + 2
    assert batch.progress(0.0).retried == 2


def test_a_job_that_waits_to_be_tried_again_can_be_skipped(batch: ManagedBatch) -> None:
    ended(batch, started(batch), RETRYING)
    assert batch.skip(1)
    assert not batch.skip(1)
    assert batch.progress(0.0).skipped == 1
    assert batch.take_number(NOW + 9) == 2
    batch.begin(2, FIRST_RUN)
    assert not batch.skip(2)


def test_of_a_stopped_batch_the_rest_is_skipped(batch: ManagedBatch) -> None:
    started(batch)
    batch.life = structs.replace(batch.life, stop=BatchStop("stopped from the dashboard"))
    batch.skip(3)
    batch.skip_rest()
    assert batch.progress(0.0).skipped == 2
    assert not batch.is_over
    ended(batch, 1, b"x")
    assert batch.is_over
    assert not batch.has_room


def test_another_daemon_goes_on_at_the_right_input(home: Home) -> None:
    first = opened(home, list("abcdefgh"), jobs=3)
    for state in (b"+", b"f", RETRYING):
        number = started(first)
        record = first.under_way[number].record._replace(cause=1 if state == b"f" else 0, ended=NOW)
        first.files.add_cause("exit 9") if state == b"f" else None
        first.end(number, record, state)
    started(first)
    first.skip(7)
    first.files.close()
    second = opened(home, [], jobs=3)
    try:
        assert [number for number, _ in second.recount()] == [4]
        assert second.files.record(4).run == FIRST_RUN + 4
        assert (second.next_number, second.skipped_ahead, second.retries) == (5, {7}, [(NOW + 1, 3)])
        assert (second.failed_count, second.skipped_count, second.total) == (1, 1, 8)
        assert [(group.cause, group.ids) for group in second.failures.groups()] == [("exit 9", ("12.2",))]
        assert [second.take_number(NOW + 2) for _ in range(5)] == [3, 5, 6, 8, None]
    finally:
        second.files.close()


def test_an_input_that_was_taken_and_not_begun_is_not_left_out(home: Home) -> None:
    first = opened(home, list("abc"), jobs=3)
    first.take_number(NOW)
    started(first)
    first.files.close()
    second = opened(home, [])
    try:
        assert [number for number, _ in second.recount()] == [2]
        assert [second.take_number(NOW) for _ in range(3)] == [1, 3, None]
    finally:
        second.files.close()
