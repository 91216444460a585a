"""The journal: what was committed is there again, whatever happened to the daemon, the disk or the file."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from corral.decide.lifecycle import (
    PauseRequested,
    SlotGranted,
    StagesSpawned,
    StopRequested,
    advance,
    new_life,
)
from corral.decide.recovery import unended_jobs
from corral.decide.rows import new_job
from corral.decide.store import DamagedJournalError, Journal, JournalError, JournalReader, StartedStage
from corral.values.errors import CorralError, NotSoError, UnknownJobError
from corral.values.home import Home
from corral.values.jobs import Job
from corral.values.reports import StopReport
from corral.values.spec import Command, JobSpec, Pipeline, Surroundings
from corral.values.wire import from_wire, to_wire

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PLACE = Surroundings(environment={"PATH": "/bin"}, cwd="/srv", umask=0o22, limits={7: (64, -1)}, nice=3)


def spec(*programs: str, name: str | None = None) -> JobSpec:
    stages = tuple(Command((program, "-x")) for program in programs or ("true",))
    return JobSpec(Pipeline(stages), " | ".join(programs or ("true",)), name=name)


def ended(job: int, what: JobSpec, state: str = "succeeded", seconds: float = 2.0) -> Job:
    base = new_job(job, what, PLACE.cwd, AT)
    stages = tuple(replace(stage, state="succeeded", pid=100 + stage.number) for stage in base.stages)
    end = AT + timedelta(seconds=seconds)
    return replace(base, state=state, stages=stages, started=AT, ended=end, exit_status=0)  # type: ignore[arg-type]


def mode(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


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
    journal.stages_started(job, [StartedStage(1, 71, 900), StartedStage(2, 72, 901)], AT)
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
        lambda: journal.stages_started(job, [StartedStage(1, 71, 900), StartedStage(2, 72, 901)], AT),
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
    journal.add_found(replace(ended(40, spec(), "lost"), reason="its record is gone"))
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
        journal.stages_started(job, [StartedStage(1, 70 + job, 5)], AT)
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
    journal.stages_started(one, [StartedStage(1, 71, 5)], AT)
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
    journal.stages_started(running, [StartedStage(1, 71, 900), StartedStage(2, 72, 901)], AT)
    journal.stage_ended(running, 1, AT, 0, None)
    journal.commit()
    found = {job.id: job for job in unended_jobs(next_daemon(), 50.0)}
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
    journal.stages_started(job, [StartedStage(1, 71, 900), StartedStage(2, 72, 901)], AT)
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
    journal.stages_started(job, [StartedStage(1, 71, 900)], AT)
    journal.state_changed(job, life)
    journal.commit()
    (found,) = unended_jobs(next_daemon(), 50.0)
    assert found.life.started_now is not None
    assert found.life.started_now <= 50.0


KILLED_WRITER = """
import sys
from datetime import datetime, UTC
from corral.decide.store import Journal
from corral.values.home import Home
from corral.values.spec import *
journal = Journal.open(Home(sys.argv[1]))
specs = [JobSpec(Pipeline((Command(("true",)),)), "true", name="kept")]
place = Surroundings({"A": "b"}, "/", 18)
for _ in range(200):
    journal.add_jobs(specs, place, datetime.now(UTC))
    journal.commit()
journal.add_jobs(specs, place, datetime.now(UTC))
print("ready", flush=True)
sys.stdin.read()
"""


def test_sigkill_of_the_daemon_loses_nothing_that_was_committed(home: Home) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", KILLED_WRITER, home.path],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        writer.kill()
    assert os.path.getsize(home.journal + "-wal")
    reader = JournalReader.open(home)
    assert len(reader.unended_ids()) == len(reader.jobs()) == 200
    reader.close()
    journal = Journal.open(home)
    assert journal.notices == []
    assert len(journal.unended_ids()) == 200
    assert journal.add_jobs([spec()], PLACE, AT) == [201]
    journal.close()


# ---- the file -----------------------------------------------------------------------------------------------------


def test_all_is_private_whatever_the_umask(tmp_path: Path) -> None:
    home = Home(str(tmp_path / "deep" / "home"))
    before = os.umask(0)
    try:
        journal = Journal.open(home)
        journal.add_jobs([spec()], PLACE, AT)
        journal.commit()
    finally:
        os.umask(before)
    assert mode(home.path) == mode(home.jobs) == 0o700
    files = [home.journal, home.journal + "-wal", home.journal + "-shm", home.identity_file]
    assert [mode(path) for path in files] == [0o600] * 4
    journal.close()


def test_an_open_home_is_made_private(home: Home) -> None:
    os.makedirs(home.path, mode=0o755)
    Journal.open(home).close()
    assert mode(home.path) == 0o700


def test_the_nonce_stays_even_if_the_journal_is_lost(home: Home) -> None:
    first = Journal.open(home)
    first.close()
    assert 0 < first.nonce < 1 << 22
    os.unlink(home.journal)
    second = Journal.open(home)
    second.close()
    os.unlink(home.identity_file)
    third = Journal.open(home)
    third.close()
    assert first.nonce == second.nonce == third.nonce
    assert json.loads(Path(home.identity_file).read_text()) == {"nonce": first.nonce}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"nonce": 0}', '{"nonce": "7"}', '{"nonce": 4194304}'])
def test_a_useless_home_json_is_written_anew(home: Home, content: str) -> None:
    os.makedirs(home.path)
    Path(home.identity_file).write_text(content)
    journal = Journal.open(home)
    journal.close()
    assert json.loads(Path(home.identity_file).read_text()) == {"nonce": journal.nonce}


def test_a_fresh_journal_starts_above_older_output(home: Home) -> None:
    os.makedirs(home.job(41))
    os.makedirs(os.path.join(home.jobs, "notes"))
    journal = Journal.open(home)
    assert journal.add_jobs([spec()], PLACE, AT) == [42]
    journal.close()


def with_jobs(home: Home, count: int = 300) -> None:
    journal = Journal.open(home)
    journal.add_jobs([spec(name=f"job-{number}") for number in range(count)], PLACE, AT)
    journal.close()


def overwrite(path: str, at: int, what: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(what)


DAMAGES = {
    "no database": lambda path: Path(path).write_text("not a journal\n" * 100),
    "header": lambda path: overwrite(path, 0, b"\xff" * 64),
    "pages": lambda path: overwrite(path, 4096, b"\xa5" * 40_000),
    "half of it": lambda path: os.truncate(path, os.path.getsize(path) // 2),
    "a page and a bit": lambda path: os.truncate(path, 5000),
    "schema": lambda path: overwrite(path, 100, b"\xa5" * 3000),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_journal_is_set_aside_whole(home: Home, damage: str) -> None:
    with_jobs(home)
    os.makedirs(home.job(300))
    DAMAGES[damage](home.journal)
    content = Path(home.journal).read_bytes()
    with pytest.raises(DamagedJournalError) as caught, closing(JournalReader.open(home)) as reader:
        reader.jobs()
    assert str(caught.value).startswith(f"the journal {home.journal} is damaged: ")
    journal = Journal.open(home)
    (notice,) = journal.notices
    (kept,) = [
        name for name in os.listdir(home.path) if name.startswith("corral.db.damaged-") and name[-1].isdigit()
    ]
    assert Path(home.path, kept).read_bytes() == content
    assert f"set aside as {os.path.join(home.path, kept)}" in notice
    assert "\n" not in notice
    assert journal.jobs() == []
    assert journal.add_jobs([spec()], PLACE, AT) == [301]
    journal.close()


def test_another_program_s_database_is_set_aside(home: Home) -> None:
    os.makedirs(home.path)
    other = sqlite3.connect(home.journal)
    other.execute("CREATE TABLE cookies (name TEXT)")
    other.close()
    journal = Journal.open(home)
    assert "it holds no jobs of Corral" in journal.notices[0]
    journal.close()


def test_two_damaged_ones_in_a_second_are_both_kept(home: Home) -> None:
    for _ in range(2):
        os.makedirs(home.path, exist_ok=True)
        Path(home.journal).write_text("nonsense" * 50)
        Journal.open(home).close()
    assert len([name for name in os.listdir(home.path) if ".damaged-" in name]) == 2


def test_one_bad_row_hides_no_other(home: Home) -> None:
    with_jobs(home, 3)
    connection = sqlite3.connect(home.journal)
    connection.execute("UPDATE jobs SET spec = x'ff00' WHERE id = 2")
    connection.commit()
    connection.close()
    journal = Journal.open(home)
    assert [(job.id, job.state) for job in journal.jobs()] == [
        ("1", "queued"),
        ("2", "lost"),
        ("3", "queued"),
    ]
    assert [job.id for job in unended_jobs(journal, 0.0)] == [1, 3]
    assert journal.notices == ["job 2 is lost: its record in the journal is damaged"]
    journal.commit()
    assert journal.unended_ids() == [1, 3]
    assert (journal.job(2).name, journal.job(2).reason) == ("job-1", "its record in the journal is damaged")
    journal.close()


@pytest.mark.parametrize("opened", [Journal.open, JournalReader.open])
def test_a_newer_journal_is_refused_and_left_alone(home: Home, opened: object) -> None:
    with_jobs(home)
    connection = sqlite3.connect(home.journal)
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    content = Path(home.journal).read_bytes()
    with pytest.raises(JournalError) as caught:
        opened(home)  # type: ignore[operator]
    assert not isinstance(caught.value, DamagedJournalError)
    assert str(caught.value) == (
        f"the journal {home.journal} was written by a newer Corral (format 7, known here: 1): "
        "use that version, or set CORRAL_HOME to another directory"
    )
    assert Path(home.journal).read_bytes() == content


def test_a_full_disk_keeps_what_was_to_be_written(journal: Journal) -> None:
    pages = journal._connection.execute("PRAGMA page_count").fetchone()[0]
    journal._connection.execute(f"PRAGMA max_page_count = {pages + 1}")
    ids = journal.add_jobs([spec(name=f"n{number}") for number in range(500)], PLACE, AT)
    for _ in range(2):
        with pytest.raises(JournalError, match="no space left for the journal"):
            journal.commit()
        assert journal.is_dirty
        assert journal.unended_ids() == []
    journal._connection.execute("PRAGMA max_page_count = 100000")
    journal.commit()
    assert journal.unended_ids() == ids


def test_a_locked_journal_is_an_error_and_loses_nothing(journal: Journal) -> None:
    journal._connection.execute("PRAGMA busy_timeout = 0")
    other = sqlite3.connect(journal.home.journal, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    (job,) = journal.add_jobs([spec()], PLACE, AT)
    with pytest.raises(JournalError, match="database is locked"):
        journal.commit()
    other.execute("ROLLBACK")
    other.close()
    journal.commit()
    assert journal.unended_ids() == [job]


# ---- a home that cannot serve -------------------------------------------------------------------------------------


def refusal(home: Home) -> str:
    with pytest.raises(CorralError) as caught:
        Journal.open(home)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_is_no_home(home: Home) -> None:
    Path(home.path).write_text("")
    assert refusal(home) == f"CORRAL_HOME {home.path} is no directory: set CORRAL_HOME to one"
    inside = Home(os.path.join(home.path, "home"))
    assert "is no directory" in refusal(inside)


def test_a_home_that_cannot_be_made(home: Home) -> None:
    assert refusal(Home("/proc/corral")).startswith("cannot use CORRAL_HOME /proc/corral: ")


def test_a_home_of_somebody_else(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with_jobs(home)
    us = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: us + 1)
    assert refusal(home).startswith(f"CORRAL_HOME {home.path} belongs to ")
    with pytest.raises(CorralError, match="belongs to"):
        JournalReader.open(home)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_home_that_cannot_be_written(home: Home) -> None:
    with_jobs(home)
    os.chmod(home.journal, 0o400)
    os.chmod(os.path.dirname(home.path), 0o500)
    try:
        below = Home(os.path.join(os.path.dirname(home.path), "other"))
        assert "Permission denied" in refusal(below)
    finally:
        os.chmod(os.path.dirname(home.path), 0o700)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_home_that_can_only_be_read(home: Home) -> None:
    with_jobs(home, 3)
    os.chmod(home.path, 0o500)
    try:
        with closing(JournalReader.open(home)) as reader:
            assert reader.unended_ids() == [1, 2, 3]
    finally:
        os.chmod(home.path, 0o700)


def test_reading_where_nothing_is_makes_nothing(home: Home) -> None:
    reader = JournalReader.open(home)
    assert reader.unended_ids() == []
    assert reader.jobs() == []
    with pytest.raises(UnknownJobError):
        reader.resolve("@")
    reader.close()
    assert not os.path.exists(home.path)


def test_reading_needs_no_asyncio_psutil_or_rich() -> None:
    code = "import sys, corral.decide.reader; print(*({'asyncio', 'psutil', 'rich', 'textual'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"\n"
