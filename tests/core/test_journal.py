"""The journal: what was committed is there again, whatever happened to the daemon, the disk or the file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from corral.journal.journal import Journal, StageStart
from corral.journal.reader import JournalReader
from corral.journal.rows import new_job
from corral.journal.unfinished_jobs import begun_jobs, unended_jobs, waiting_jobs
from corral.lifecycle.state import PauseRequested, SlotGranted, StagesSpawned, StopRequested
from corral.lifecycle.state_machine import advance, new_life
from corral.model.errors import NotSoError, UnknownJobError
from corral.model.home import Home
from corral.model.reports import StopReport
from corral.model.spec import Command, FileInput, JobSpec, Pipeline
from corral.model.wire import from_wire, to_wire
from journals import AT, PLACE, ended, spec


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(str(tmp_path / "home"))


@pytest.fixture
def journal(home: Home) -> Iterator[Journal]:
    opened = Journal.open(home)
    yield opened
    opened.close()


@pytest.fixture
def next_daemon(journal: Journal) -> Iterator[Callable[[], Journal]]:
    """Opens the journal as a next daemon finds it; the first one writes no more."""
    with ExitStack() as opened:

        def reopen() -> Journal:
            again = Journal.open(journal.home)
            opened.callback(again.close)
            return again

        yield reopen


# ---- jobs ---------------------------------------------------------------------------------------------------------


def test_what_was_committed_is_read_back(journal: Journal) -> None:
    what = spec("tar", "gzip", name="pack")
    (job,) = journal.add_jobs([what], PLACE, AT)
    assert journal.is_dirty
    journal.commit()
    assert not journal.is_dirty
    reader = JournalReader.open(journal.home)
    assert reader.unended_ids() == [job]
    assert reader.origin(job) == (what, PLACE)
    assert reader.job(job) == new_job(job, what, "/srv", AT)
    reader.close()


def test_nothing_is_seen_before_the_commit(journal: Journal) -> None:
    journal.add_jobs([spec()], PLACE, AT)
    assert journal.unended_ids() == []


def test_an_unended_job_is_shown_as_last_known(journal: Journal) -> None:
    (job,) = journal.add_jobs([spec("tar", "gzip")], PLACE, AT)
    journal.mark_starting([job])
    journal.commit()
    journal.stages_started(job, [StageStart(1, 71, 900), StageStart(2, 72, 901)], AT)
    journal.commit()
    journal.stage_ended(job, 1, AT, 3, None, 0.5)
    journal.commit()
    (shown,) = journal.unended_jobs()
    assert (shown.state, shown.started) == ("running", AT)
    assert [(s.pid, s.state, s.exit_status, s.cpu_seconds) for s in shown.stages] == [
        (71, "failed", 3, 0.5),
        (72, "running", None, None),
    ]


@pytest.mark.parametrize("commits_between", [True, False])
def test_an_ended_job_is_its_last_snapshot(journal: Journal, commits_between: bool) -> None:
    what = spec("tar", "gzip", name="pack")
    (job,) = journal.add_jobs([what], PLACE, AT)
    for step in (
        lambda: journal.mark_starting([job]),
        lambda: journal.stages_started(job, [StageStart(1, 71, 900), StageStart(2, 72, 901)], AT),
        lambda: journal.stage_ended(job, 1, AT, None, "PIPE", 0.5),
        lambda: journal.stage_ended(job, 2, AT, 0, None, 0.25),
        lambda: journal.job_ended(ended(job, what), StopReport(id=str(job), state="succeeded", seconds=0.1)),
    ):
        step()
        if commits_between:
            journal.commit()
    journal.commit()
    assert journal.unended_ids() == []
    assert journal.jobs() == journal.ended(5) == [ended(job, what)]
    assert journal.stop_report(job) == StopReport(id=str(job), state="succeeded", seconds=0.1)
    rows = [(s.number, s.pid, s.started_ticks, s.exit_status, s.signal) for s in journal.stages(job)]
    assert rows == [(1, 71, 900, None, "PIPE"), (2, 72, 901, 0, None)]


def test_jobs_are_found_by_number_name_and_at(journal: Journal) -> None:
    specs = [spec(name="a"), spec(name="a"), spec(name="b"), spec(name="b"), spec()]
    one, two, three, four, five = journal.add_jobs(specs, PLACE, AT)
    for job, what in zip((one, two), specs[:2], strict=True):
        journal.job_ended(ended(job, what))
    journal.commit()
    assert journal.resolve(str(three)) == three
    assert journal.resolve("a") == two
    assert journal.resolve("@") == five
    with pytest.raises(NotSoError, match=f"b is the name of jobs {three} and {four}"):
        journal.resolve("b")
    with pytest.raises(UnknownJobError):
        journal.resolve("99")


def test_the_newest_are_read_in_rising_order(journal: Journal) -> None:
    ids = journal.add_jobs([spec()] * 5, PLACE, AT)
    for job in ids[:4]:
        journal.job_ended(ended(job, spec()))
    journal.commit()
    assert [job.id for job in journal.ended(2)] == ["3", "4"]
    assert [job.id for job in journal.jobs(limit=2)] == ["4", "5"]
    assert [job.id for job in journal.jobs([5, 1, 99])] == ["1", "5"]


def test_more_ids_than_one_statement_takes(journal: Journal) -> None:
    ids = journal.add_jobs([spec()] * 1200, PLACE, AT)
    journal.commit()
    assert len(journal.jobs(ids)) == 1200


def test_a_hidden_job_says_so(journal: Journal) -> None:
    (job,) = journal.add_jobs([spec()], PLACE, AT)
    journal.job_ended(ended(job, spec()))
    journal.set_hidden([job], True)
    journal.commit()
    assert journal.job(job).hidden
    journal.set_hidden([job], False)
    journal.commit()
    assert not journal.job(job).hidden


def test_its_life_and_earlier_runs(journal: Journal) -> None:
    ids = journal.add_jobs([spec("make")] * 3, PLACE, AT)
    for job, state in zip(ids[:2], ("failed", "succeeded"), strict=True):
        journal.job_ended(ended(job, spec("make"), state, seconds=60.0 * job))
    journal.record(ids[2], AT, "paused", "paused")
    journal.record(ids[2], AT + timedelta(seconds=1), "resumed", "resumed")
    journal.commit()
    detail = journal.detail(ids[2])
    assert [event.text for event in detail.events] == ["paused", "resumed"]
    assert detail.earlier_runs == (("2", "succeeded", 120.0), ("1", "failed", 60.0))
    assert detail.environment == {"PATH": "/bin"}
    assert detail.stdin_path is None


def test_the_file_that_is_its_stdin(journal: Journal) -> None:
    (job,) = journal.add_jobs([replace(spec(), stdin=FileInput("/data/shop.sql"))], PLACE, AT)
    journal.commit()
    assert journal.detail(job).stdin_path == "/data/shop.sql"


def test_a_stop_of_leftovers_is_kept(journal: Journal) -> None:
    (job,) = journal.add_jobs([spec()], PLACE, AT)
    journal.job_ended(replace(ended(job, spec()), leftovers=2))
    journal.commit()
    journal.update_ended(ended(job, spec()))
    journal.stop_reported(job, StopReport(id="1", state="succeeded", seconds=1.0))
    journal.commit()
    assert journal.job(job).leftovers == 0
    assert journal.stop_report(job) == StopReport(id="1", state="succeeded", seconds=1.0)


def test_processes_without_a_row_become_a_lost_job(journal: Journal) -> None:
    journal.add_recovered(replace(ended(40, spec(), "lost"), reason="its record is gone"))
    journal.commit()
    assert journal.job(40).state == "lost"
    assert journal.add_jobs([spec()], PLACE, AT) == [41]
    with pytest.raises(NotSoError, match="what job 40 was started with is not known"):
        journal.origin(40)


def test_undecodable_bytes_come_back(journal: Journal) -> None:
    raw = os.fsdecode(b"caf\xe9")
    wired = to_wire(raw)
    what = JobSpec(Pipeline((Command((wired,)),)), raw)
    place = replace(PLACE, environment={"NAME": wired}, cwd=wired)
    (job,) = journal.add_jobs([replace(what, command=wired)], place, AT)
    (other,) = journal.add_jobs([what], PLACE, AT)
    journal.record(job, AT, "note", raw)
    journal.commit()
    read, where = journal.origin(job)
    assert os.fsencode(from_wire(read.pipeline.stages[0].argv[0])) == b"caf\xe9"
    assert os.fsencode(from_wire(where.environment["NAME"])) == b"caf\xe9"
    assert journal.origin(other)[0].command == wired
    assert journal.events(job)[0].text == wired


def test_an_environment_is_kept_once(journal: Journal) -> None:
    for _ in range(3):
        journal.add_jobs([spec()] * 2, replace(PLACE), AT)
        journal.commit()
    journal.add_jobs([spec()], replace(PLACE, cwd="/tmp"), AT)
    journal.commit()
    counts = [
        journal._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        for table in ("environments", "surroundings", "jobs")
    ]
    assert counts == [1, 2, 7]


# ---- removal ------------------------------------------------------------------------------------------------------


def test_a_removed_job_is_gone_and_its_id_is_not_used_again(
    journal: Journal, next_daemon: Callable[[], Journal]
) -> None:
    ids = journal.add_jobs([spec(), spec()], PLACE, AT)
    for job in ids:
        journal.stages_started(job, [StageStart(1, 70 + job, 5)], AT)
        journal.job_ended(ended(job, spec()))
        journal.record(job, AT, "paused", "paused")
    journal.commit()
    journal.remove(ids)
    journal.commit()
    for table in ("jobs", "stages", "events", "surroundings", "environments"):
        assert journal._connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    again = next_daemon()
    assert again.add_jobs([spec()], PLACE, AT) == [3]
    assert again.notices == []


def test_what_was_not_committed_is_just_forgotten(journal: Journal) -> None:
    one, two = journal.add_jobs([spec(), spec()], PLACE, AT)
    journal.mark_starting([one, two])
    journal.stages_started(one, [StageStart(1, 71, 5)], AT)
    journal.record(one, AT, "paused", "paused")
    journal.remove([one])
    journal.commit()
    assert journal.unended_ids() == [two]
    assert journal.stages(one) == []
    assert journal.events(one) == ()


def test_surroundings_of_removed_jobs_can_be_used_again(journal: Journal) -> None:
    journal.remove(journal.add_jobs([spec()], PLACE, AT))
    journal.commit()
    journal.remove(journal.add_jobs([spec()], PLACE, AT))
    (job,) = journal.add_jobs([spec()], PLACE, AT)
    journal.commit()
    journal.remove([job])
    (last,) = journal.add_jobs([spec()], PLACE, AT)
    journal.commit()
    (after,) = journal.add_jobs([spec()], PLACE, AT)
    journal.commit()
    assert journal.origin(last)[1] == journal.origin(after)[1] == PLACE


# ---- a next daemon ------------------------------------------------------------------------------------------------


def test_recovery_tells_queued_starting_and_running_apart(
    journal: Journal, next_daemon: Callable[[], Journal]
) -> None:
    queued, starting, running = journal.add_jobs([spec(), spec(), spec("tar", "gzip")], PLACE, AT)
    journal.mark_starting([starting, running])
    journal.stages_started(running, [StageStart(1, 71, 900), StageStart(2, 72, 901)], AT)
    journal.stage_ended(running, 1, AT, 0, None)
    journal.commit()
    following = next_daemon()
    found = {job.id: job for job in unended_jobs(following, 50.0)}
    assert [job.id for job in begun_jobs(following, 50.0)] == [starting, running]
    assert list(waiting_jobs(following)) == [(queued, spec(), AT)]
    assert (found[queued].life.state, found[queued].is_starting) == ("queued", False)
    assert (found[starting].life.state, found[starting].is_starting) == ("queued", True)
    assert found[starting].life.is_starting
    life = found[running].life
    assert (life.state, life.is_starting, life.started) == ("running", False, AT)
    assert [stage.is_running for stage in life.stages] == [False, True]
    assert found[running].stages[1][:3] == (2, 72, 901)
    assert found[running].surroundings == PLACE


def test_recovery_keeps_a_pause_and_a_stop(journal: Journal, next_daemon: Callable[[], Journal]) -> None:
    (job,) = journal.add_jobs([spec("a", "b")], PLACE, AT)
    life = new_life(spec("a", "b"), ["a", "b"])
    for event in (
        SlotGranted(at=AT, now=1.0),
        StagesSpawned(at=AT, now=1.0),
        PauseRequested(at=AT, now=2.0),
        StopRequested(at=AT, now=5.0, cause="user", reason="stopped from the dashboard"),
    ):
        life, _ = advance(life, event)
    journal.mark_starting([job])
    journal.stages_started(job, [StageStart(1, 71, 900), StageStart(2, 72, 901)], AT)
    journal.state_changed(job, life)
    journal.stage_ended(job, 1, AT, None, "TERM")
    journal.commit()
    assert journal.job(job).state == "stopping"
    (found,) = unended_jobs(next_daemon(), 50.0)
    assert (found.life.state, found.life.paused_for, found.life.started_now) == ("stopping", 3.0, 1.0)
    assert found.life.stop == life.stop
    assert found.life.stages[0].end is not None


def test_times_of_an_earlier_boot_are_taken_from_the_wall_clock(
    journal: Journal, next_daemon: Callable[[], Journal]
) -> None:
    (job,) = journal.add_jobs([spec()], PLACE, AT)
    life = new_life(spec(), ["true"])
    for event in (SlotGranted(at=AT, now=9e9), StagesSpawned(at=AT, now=9e9)):
        life, _ = advance(life, event)
    journal.stages_started(job, [StageStart(1, 71, 900)], AT)
    journal.state_changed(job, life)
    journal.commit()
    (found,) = unended_jobs(next_daemon(), 50.0)
    assert found.life.started_now is not None
    assert found.life.started_now <= 50.0
