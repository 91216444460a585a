"""Journals of every earlier Corral: read whole, by a daemon and without one, whatever comes between."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from corral.journal import tables
from corral.journal.journal import Journal
from corral.journal.opening import JournalError
from corral.journal.reader import JournalReader
from corral.journal.unfinished_jobs import unended_jobs
from corral.model.home import Home
from corral.model.reports import Detail
from e2e.command import Corral
from smalldisk import fill, small_disk
from until import until

DUMPS = Path(__file__).with_name("earlier_journals")
EARLIER = {
    # What each changed, from the first that there was: by the code of then, jobs of every kind in it.
    "the first": ("first", ""),
    "with cleaning": ("first", "CREATE INDEX surroundings_by_environment ON surroundings (environment);"),
    "with peaks": ("with_stories", "DROP TRIGGER forget_story; DROP TABLE stories;"),
    "with stories": ("with_stories", ""),
}
JOBS = {
    "first": ["1 build succeeded", "2 deploy failed", "3 held paused", "4 long running", "5 later queued",
              "6 served stopped"],
    "with_stories": ["1 build succeeded", "2 deploy failed", "3 server timed_out", "4 served stopped", "5 held paused",
                     "6 long running", "7 later queued", "8 typed stopped", "9 None failed"],
}  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(str(tmp_path / "home"))


def make(home: Home, name: str) -> list[str]:
    """The journal of that name; what is known of its jobs."""
    dump, change = EARLIER[name]
    os.makedirs(home.path, mode=0o700, exist_ok=True)
    with closing(sqlite3.connect(home.journal)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript((DUMPS / f"{dump}.sql").read_text() + change)
    return JOBS[dump]


def listed(reader: JournalReader) -> list[str]:
    return [f"{job.id} {job.name} {job.state}" for job in reader.jobs()]


def told(reader: JournalReader) -> list[Detail]:
    return [reader.detail(int(job.id)) for job in reader.jobs()]


def dumped(path: str) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


@pytest.mark.parametrize("name", EARLIER)
def test_all_is_read_back_with_a_daemon_and_without_one(home: Home, name: str) -> None:
    jobs, before = make(home, name), dumped(home.journal)
    with closing(JournalReader.open(home)) as reader:
        assert listed(reader) == jobs
        without_daemon = told(reader)
    assert dumped(home.journal) == before
    with closing(Journal.open(home)) as journal:
        assert listed(journal) == jobs
        assert told(journal) == without_daemon
        stored = {str(each.id): each.life.state for each in unended_jobs(journal, 0.0)}
        assert stored == {job.id: job.state for job in journal.jobs() if not job.is_ended}
        notices = list(journal.notices)
    assert "of an earlier Corral and was brought up to date" in notices[0]
    assert notices[0].endswith(f"kept as {home.journal}.earlier")
    assert dumped(f"{home.journal}.earlier") == before
    assert os.stat(f"{home.journal}.earlier").st_mode & 0o777 == 0o600
    with closing(Journal.open(home)) as again:
        assert again.notices == []


def test_what_an_earlier_corral_kept_of_a_job_is_there(home: Home) -> None:
    make(home, "with stories")
    with closing(JournalReader.open(home)) as reader:
        by_id = {detail.job.id: detail for detail in told(reader)}
    assert [stage.exit_status for stage in by_id["2"].job.stages] == [0, 0, 1]
    assert [event.kind for event in by_id["3"].events] == ["stopping", "signal"]
    assert by_id["4"].stop is not None
    assert [each.ended_by for each in by_id["4"].stop.processes] == ["TERM"]
    assert by_id["7"].environment["SECRET"] == "x"
    assert by_id["7"].job.after == ("6",)
    assert by_id["9"].life is not None
    assert len(by_id["9"].life.cpu) > 1
    assert by_id["1"].job.hidden


KILLED = """
import os, sqlite3, sys
from contextlib import closing
from corral.journal import tables
from corral.journal.journal import Journal
from corral.model.home import Home

class Dying:
    def __init__(self, connection, left):
        self.connection, self.left = connection, left
    def execute(self, statement, *values):
        if not statement.startswith(("SELECT", "PRAGMA table_info")):
            self.left -= 1
            if not self.left:
                os.kill(os.getpid(), 9)
        return self.connection.execute(statement, *values)
    def __getattr__(self, name):
        return getattr(self.connection, name)

def dumped():
    with closing(sqlite3.connect(home.journal)) as connection:
        return list(connection.iterdump())

home, upgrade, step, status = Home(sys.argv[1]), tables.upgrade, 0, 9
before = dumped()
while status == 9:
    step += 1
    if not (child := os.fork()):
        tables.upgrade = lambda connection: upgrade(Dying(connection, step))
        Journal.open(home).close()
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if status:
        assert dumped() == before, step
print(step, status)
"""


def test_sigkill_between_any_two_steps_loses_nothing(home: Home) -> None:
    jobs = make(home, "the first")
    before = dumped(home.journal)
    killed = subprocess.run([sys.executable, "-c", KILLED, home.path], capture_output=True, check=True)
    assert killed.stdout == b"18 0\n"
    assert dumped(f"{home.journal}.earlier") == before
    with closing(Journal.open(home)) as journal:
        assert (listed(journal), journal.notices) == (jobs, [])


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 2 << 20) as path:
        yield path


@pytest.mark.parametrize("left", [0, 16 << 10, 64 << 10])
def test_a_full_disk_leaves_the_journal_as_it_was_and_says_so(disk: Path, left: int) -> None:
    home = Home(str(disk / "home"))
    jobs = make(home, "the first")
    os.makedirs(home.jobs, mode=0o700)
    before = dumped(home.journal)
    fill(disk / "filler")
    os.truncate(disk / "filler", os.path.getsize(disk / "filler") - left)
    with pytest.raises(JournalError) as caught:
        Journal.open(home)
    assert "no space left" in str(caught.value)
    assert not [name for name in os.listdir(home.path) if "earlier" in name or "damaged" in name]
    with closing(JournalReader.open(home)) as reader:
        assert listed(reader) == jobs
    os.unlink(disk / "filler")
    assert dumped(home.journal) == before
    with closing(Journal.open(home)) as journal:
        assert listed(journal) == jobs


@pytest.mark.parametrize("column", ["starting", "hidden", "life", "stop", "usage"])
def test_a_column_that_was_not_there_yet_is_added(home: Home, column: str) -> None:
    jobs = make(home, "with stories")
    with closing(sqlite3.connect(home.journal)) as connection:
        connection.execute(f"ALTER TABLE jobs DROP COLUMN {column}")
    with closing(JournalReader.open(home)) as reader:
        assert listed(reader) == jobs
    with closing(Journal.open(home)) as journal:
        assert listed(journal) == jobs
        assert "brought up to date" in journal.notices[0]


@pytest.mark.parametrize(
    "damage",
    [
        "ALTER TABLE jobs RENAME COLUMN snapshot TO snbpshot",
        "ALTER TABLE jobs DROP COLUMN command",
        "DROP TABLE stages",
    ],
)
def test_an_earlier_journal_that_is_damaged_is_set_aside(home: Home, damage: str) -> None:
    make(home, "the first")
    with closing(sqlite3.connect(home.journal)) as connection:
        connection.execute(damage)
    with closing(Journal.open(home)) as journal:
        assert "set aside as" in journal.notices[0]
        assert journal.jobs() == []


def test_a_format_has_a_step_that_is_taken_once_and_as_a_whole(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, fails = make(home, "with stories"), [True]

    def step(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE jobs SET command = command || '!'")
        if fails:
            raise sqlite3.OperationalError("something broke")

    monkeypatch.setattr(tables, "VERSION", 2)
    monkeypatch.setattr(tables, "_MIGRATIONS", {1: step})
    with pytest.raises(JournalError, match="something broke; it is as it was"):
        Journal.open(home)
    fails.clear()
    for _ in range(2):
        with closing(Journal.open(home)) as journal:
            assert listed(journal) == jobs
            rows = journal.select("SELECT DISTINCT substr(command, -2) FROM jobs")
            assert all(row[0][-1] == "!" and row[0] != "!!" for row in rows)
            assert tables.user_version(journal._connection) == 2
    with closing(sqlite3.connect(f"{home.journal}.earlier")) as copy:
        assert tables.user_version(copy) == 1


def test_what_a_later_corral_adds_to_a_job_is_passed_over(home: Home) -> None:
    jobs = make(home, "with stories")
    Journal.open(home).close()
    with closing(sqlite3.connect(home.journal, isolation_level=None)) as connection:
        connection.execute("ALTER TABLE jobs ADD COLUMN future TEXT")
        for column in ("snapshot", "spec", "life", "stop", "usage"):
            connection.execute(
                f"UPDATE jobs SET {column} = CAST('{{\"future\":[1],' || substr(CAST({column} AS TEXT), 2) AS BLOB)"
                f" WHERE {column} IS NOT NULL"
            )
    with closing(Journal.open(home)) as journal:
        assert (listed(journal), journal.notices) == (jobs, [])
        assert all(detail.job.reason != "its record in the journal is damaged" for detail in told(journal))
        assert len(list(unended_jobs(journal, 0.0))) == 3
        assert journal.notices == []
        assert journal.stop_report(4) is not None


def test_the_command_line_has_all_of_it_and_says_so_once(tmp_path: Path, home: Home) -> None:
    make(home, "the first")
    corral = Corral(tmp_path / "home", tmp_path)
    first = corral("ps", "-a", "--json")
    assert "of an earlier Corral and was brought up to date" in first.stderr
    assert [job["name"] for job in json.loads(first.stdout)] == [
        "build",
        "deploy",
        "held",
        "long",
        "later",
        "served",
    ]
    until(lambda: not json.loads(corral.ok("ps", "--json")), "what nothing is left of to be noted as lost")
    assert corral.ok("show", "served").count("ended by TERM") == 1
    corral.ok("daemon", "stop")
