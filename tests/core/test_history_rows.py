"""The story of a job in the journal: kept, small, gone with its job; and what is done about a stuck job, in order."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from corral.jobs.job_table import JobTable
from corral.jobs.managed_job import Persisted
from corral.journal.history_rows import MOST_TEXT, MOST_WAITS, HistoryRow, shortened
from corral.journal.journal import Journal
from corral.journal.reader import JournalReader
from corral.lifecycle.state import StopRequested
from corral.measure.history import History
from corral.model.history import LifePast
from corral.model.home import Home
from corral.model.reports import Diagnosis, Root, Story, Wait
from corral.monitor.history_store import HistoryStore
from corral.monitor.stop_stuck import StuckStopper
from journals import AT, PLACE, ended, spec

STUCK = Diagnosis(
    id="1",
    health="stuck",
    since=AT,
    summary="cat waits for input",
    root=Root(stage=1, pid=7, kind="pipe_read"),
    waits=(Wait(stage=1, pid=7, name="cat", kind="pipe_read", detail="waits for input"),),
)
LIFE = LifePast(2.0, tuple(float(number % 9) for number in range(128)), (1 << 20,) * 128)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(str(tmp_path / "home"))


def with_jobs(home: Home, count: int) -> Journal:
    journal = Journal.open(home)
    for number in journal.add_jobs([spec()] * count, PLACE, AT):
        journal.job_ended(ended(number, spec()))
        journal.keep_history(number, HistoryRow(LIFE, STUCK, AT))
    journal.commit()
    return journal


def stories_in(home: Home) -> list[int]:
    with closing(sqlite3.connect(home.journal)) as plain:
        return [row[0] for row in plain.execute("SELECT job FROM stories ORDER BY job")]


def test_a_story_is_there_again_and_goes_with_its_job_also_where_an_older_corral_removes_it(
    home: Home,
) -> None:
    with closing(with_jobs(home, 3)) as journal:
        journal.remove([2])
        journal.commit()
        assert stories_in(home) == [1, 3]
    with closing(sqlite3.connect(home.journal)) as older:
        older.execute("DELETE FROM jobs WHERE id = 3")
        older.commit()
    assert stories_in(home) == [1]
    with closing(JournalReader.open(home)) as reader:
        assert reader.history(reader.job(1)) == Story("1", STUCK, AT, LIFE)
        assert reader.detail(1).diagnosis == STUCK
        assert reader.history_row(3) is None


@pytest.mark.parametrize(
    "damage",
    [
        "DROP TABLE stories;",
        "ALTER TABLE stories RENAME COLUMN content TO contgnt;",
        "CREATE TRIGGER forget_story AFTER DELETE ON jobs BEGIN SELECT absent FROM jobs; END;",
    ],
)
def test_a_journal_of_an_older_corral_or_with_a_damaged_table_is_read_and_mended(
    home: Home, damage: str
) -> None:
    with_jobs(home, 1).close()
    with closing(sqlite3.connect(home.journal)) as plain:
        plain.executescript(f"DROP TRIGGER forget_story; {damage}")
    with closing(JournalReader.open(home)) as reader:
        assert reader.detail(1).job.state == "succeeded"
    with closing(Journal.open(home)) as journal:
        journal.keep_history(1, HistoryRow(LIFE))
        journal.commit()
        assert journal.history_row(1) == HistoryRow(LIFE)
        journal.remove([1])
        journal.commit()
    assert stories_in(home) == []


@pytest.mark.parametrize(
    "content",
    [
        b"x\x01nonsense",
        b'[{"seconds":0.0,"cpu":[],"memory":[]},null,null,null]',
        b'[{"seconds":1.0,"cpu":[0.1],"memory":[9223372036854775808]},null,null,null]',
    ],
)
def test_a_damaged_story_hides_nothing_else(home: Home, content: bytes) -> None:
    with_jobs(home, 1).close()
    with closing(sqlite3.connect(home.journal)) as plain:
        plain.execute("UPDATE stories SET content = ?", (content,))
        plain.commit()
    with closing(JournalReader.open(home)) as reader:
        assert (reader.history_row(1), reader.detail(1).diagnosis) == (None, None)


def test_the_diagnosis_of_a_tree_of_a_thousand_stays_small_and_names_its_root(home: Home) -> None:
    long = "/" + "a" * 4000
    waits = tuple(
        Wait(stage=1, pid=pid, name="sh", kind="child", detail=f"waits for {long}{pid}")
        for pid in range(1000)
    )
    whole = Diagnosis(
        id="1",
        health="stuck",
        since=AT,
        summary=long,
        waits=waits,
        root=Root(stage=1, pid=999, kind="disk"),
    )
    kept = shortened(whole)
    assert len(kept.summary) == MOST_TEXT
    assert len(kept.waits) == MOST_WAITS + 1
    assert kept.waits[-1].pid == 999
    assert kept.not_looked_at == (f"949 more processes: only the first {MOST_WAITS} are kept",)
    with closing(with_jobs(home, 1)) as journal:
        journal.keep_history(1, HistoryRow(LIFE, kept, AT))
        journal.commit()
    with closing(sqlite3.connect(home.journal)) as plain:
        (size,) = plain.execute("SELECT length(content) FROM stories").fetchone()
    assert size < 3000


@pytest.mark.parametrize(
    ("can_write", "moves", "expected"),
    [
        (True, False, ["kept", "committed", "looked again", "stopped"]),
        (True, True, ["kept", "committed", "looked again"]),
        (False, False, ["kept", "committed"]),
    ],
)
def test_a_stuck_job_is_ended_once_its_diagnosis_is_written_unless_it_moves_again(
    can_write: bool, moves: bool, expected: list[str]
) -> None:
    did: list[str] = []

    def commit_soon() -> bool:
        did.append("committed")
        return can_write

    def look_again(*_: object) -> bool:
        did.append("looked again")
        return moves

    def apply(_: object, event: StopRequested) -> None:
        did.append("stopped")
        assert (event.cause, event.reason) == ("stuck", "stuck: cat waits for input")

    job: Any = SimpleNamespace(
        id=1,
        spec=SimpleNamespace(on_stuck="stop"),
        history=History(health="stuck"),
        persisted=Persisted(),
        life=SimpleNamespace(state="running", started_now=None, is_ended=False),
        diagnosis=STUCK,
        noted_diagnosis=None,
    )
    paused: Any = SimpleNamespace(**vars(job) | {"life": SimpleNamespace(state="paused")})
    journal: Any = SimpleNamespace(keep_history=lambda *_: did.append("kept"))
    stacks: Any = SimpleNamespace(are_known=lambda _: True, add_to=lambda _, found: found)
    history_store = HistoryStore(JobTable(), journal, stacks, lambda _: pytest.fail("nobody asked"))
    stopper = StuckStopper(
        history_store, stacks, apply, commit=commit_soon, scan=lambda _: None, is_attended=lambda _: False
    )
    stopper.stop([job, paused], look_again)
    assert did == expected
