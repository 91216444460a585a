"""The journal against SIGKILL, damage, a full disk, other users and homes that cannot serve."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from corral.journal.journal import Journal
from corral.journal.opening import DamagedJournalError, JournalError, LockedJournalError
from corral.journal.reader import JournalReader
from corral.journal.unfinished_jobs import unended_jobs, waiting_jobs
from corral.model.errors import CorralError, UnknownJobError
from corral.model.home import Home
from journals import AT, PLACE, locked, spec
from until import until


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


KILLED_WRITER = """
import sys
from datetime import datetime, UTC
from corral.journal.journal import Journal
from corral.model.home import Home
from corral.model.spec import *
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
    assert json.loads(Path(home.identity_file).read_text())["nonce"] == first.nonce


@pytest.mark.parametrize("content", ["", "{", "[]", '{"nonce": 0}', '{"nonce": "7"}', '{"nonce": 4194304}'])
def test_a_useless_home_json_is_written_anew(home: Home, content: str) -> None:
    os.makedirs(home.path)
    Path(home.identity_file).write_text(content)
    journal = Journal.open(home)
    journal.close()
    assert json.loads(Path(home.identity_file).read_text())["nonce"] == journal.nonce


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


def rename_column(path: str) -> None:
    """One letter of a definition, which SQLite reads as another name."""
    content = Path(path).read_bytes()
    Path(path).write_bytes(content.replace(b"starting INTEGER", b"stbrting INTEGER", 1))


DAMAGES = {
    "no database": lambda path: Path(path).write_text("not a journal\n" * 100),
    "header": lambda path: overwrite(path, 0, b"\xff" * 64),
    "pages": lambda path: overwrite(path, 4096, b"\xa5" * 40_000),
    "half of it": lambda path: os.truncate(path, os.path.getsize(path) // 2),
    "a page and a bit": lambda path: os.truncate(path, 5000),
    "schema": lambda path: overwrite(path, 100, b"\xa5" * 3000),
    "schema format": lambda path: overwrite(path, 44, b"\x00\x00\x00\x44"),
    "our format": lambda path: overwrite(path, 60, b"\x01\x00\x00\x01"),
    "name of a column": lambda path: rename_column(path),
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
    assert [job.id for job in waiting_jobs(journal)] == [1, 3]
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


@pytest.mark.parametrize("lock", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_a_locked_journal_is_an_error_that_names_who_locks_it_and_loses_nothing(
    journal: Journal, lock: str
) -> None:
    with locked(journal.home.journal, lock) as who:
        (job,) = journal.add_jobs([spec()], PLACE, AT)
        for attempt in (journal.commit, journal.commit, journal.check_lock):
            with pytest.raises(LockedJournalError, match=re.escape(f"is locked by {who}: end its")):
                attempt()
        assert journal.jobs() == []
    until(lambda: commits(journal), "it to be written")
    assert journal.unended_ids() == [job]


def commits(journal: Journal) -> bool:
    """The lock that was seen last may be believed for a moment."""
    with suppress(LockedJournalError):
        journal.commit()
    return not journal.is_dirty


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
    code = "import sys, corral.journal.reader; print(*({'asyncio', 'psutil', 'rich', 'textual'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"\n"


def test_a_log_that_was_damaged_is_kept_and_gives_no_id_again(home: Home) -> None:
    """SQLite would read it up to the damage, and say nothing."""
    journal = Journal.open(home)
    for number in range(20):
        journal.add_jobs([spec(name=f"n{number}")], PLACE, AT)
        journal.commit()
    log = Path(home.journal + "-wal")
    left = {path: path.read_bytes() for path in (Path(home.journal), log)}
    journal.close()
    for path, content in left.items():
        path.write_bytes(content)
    overwrite(str(log), len(left[log]) // 2, b"\xa5" * 9)
    damaged = log.read_bytes()
    second = Journal.open(home)
    (notice,) = second.notices
    kept = Path(notice.partition("set aside as ")[2])
    assert "what was noted last is lost" in notice
    assert kept.read_bytes() == damaged
    assert 0 < len(second.unended_ids()) < 20
    assert second.add_jobs([spec()], PLACE, AT)[0] > 20
    second.close()


def test_a_log_that_a_killed_writer_cut_off_is_no_damage(home: Home) -> None:
    journal = Journal.open(home)
    for number in range(5):
        journal.add_jobs([spec(name=f"n{number}")], PLACE, AT)
        journal.commit()
    log = Path(home.journal + "-wal")
    left = {path: path.read_bytes() for path in (Path(home.journal), log)}
    journal.close()
    for path, content in left.items():
        path.write_bytes(content)
    os.truncate(log, len(left[log]) - 1000)
    second = Journal.open(home)
    assert second.notices == []
    assert len(second.unended_ids()) == 4
    second.close()


@pytest.mark.parametrize("nonce", ["7x", "0", "99999999"])
def test_a_nonce_that_was_damaged_is_taken_from_home_json(home: Home, nonce: str) -> None:
    journal = Journal.open(home)
    journal.close()
    connection = sqlite3.connect(home.journal)
    connection.execute("UPDATE meta SET value = ? WHERE key = 'nonce'", (nonce,))
    connection.commit()
    connection.close()
    second = Journal.open(home)
    second.close()
    assert second.nonce == journal.nonce


def test_a_journal_that_says_that_nobody_may_write_it_is_set_aside(home: Home) -> None:
    """One byte of its header. It can still be read, and is, until a daemon has to write."""
    with_jobs(home, 3)
    overwrite(home.journal, 18, b"\x42")
    with closing(JournalReader.open(home)) as reader:
        assert len(reader.jobs()) == 3
    journal = Journal.open(home)
    assert "set aside as" in journal.notices[0]
    journal.close()


def test_times_and_states_that_were_damaged_are_said_in_the_jobs_own_line(home: Home) -> None:
    with_jobs(home, 4)
    connection = sqlite3.connect(home.journal)
    connection.execute("UPDATE jobs SET created = 1e300 WHERE id = 1")
    connection.execute("UPDATE jobs SET state = 'quexed' WHERE id = 2")
    connection.execute("UPDATE jobs SET ended = 5, snapshot = NULL WHERE id = 3")
    connection.commit()
    connection.close()
    journal = Journal.open(home)
    assert [job.state for job in journal.jobs()] == ["lost", "lost", "lost", "queued"]
    assert [stored.id for stored in unended_jobs(journal, 0.0)] == [2, 4]
    journal.commit()
    journal.close()
