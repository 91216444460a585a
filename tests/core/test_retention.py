"""Which jobs go, by properties; what the settings say; and the room that goes back to the disk."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from corral.jobs.job_table import JobTable
from corral.journal import shrink
from corral.journal.journal import Journal
from corral.lifecycle.retention_policy import (
    DRIFT_SECONDS,
    FRESH_SECONDS,
    JUMP_SECONDS,
    Chosen,
    EndedJob,
    PatientClock,
    choose,
    choose_asked,
)
from corral.model.home import Home
from corral.model.retention import NO_RULES, CleanRules, as_ranges
from corral.platform.files.disk_usage import delete_folder, usage_of
from corral.retention.clean_settings import CleanSettings, read_clean_settings
from corral.retention.needed_jobs import IS_SHOWN, IS_WAITED_FOR, NeededJobs
from journals import AT, PLACE, ended, spec

NOW = 1e9
HOUR = 3600.0


# ---- the choice ---------------------------------------------------------------------------------------------------


@dataclass
class Case:
    """Ended jobs, rules and what is needed."""

    jobs: list[EndedJob]
    rules: CleanRules
    needed: set[int]

    def choose(self, jobs: list[EndedJob] | None = None) -> Chosen:
        return choose(self.jobs if jobs is None else jobs, self.rules, now=NOW, needed=self.needed)

    def staying(self) -> list[EndedJob]:
        return [job for job in self.jobs if job.id not in self.choose().going]


@some.composite
def cases(draw: some.DrawFn) -> Case:
    ages = draw(some.lists(some.integers(-1, 20).map(lambda hours: hours * HOUR), max_size=20))
    sizes = some.sampled_from([0, 0, 1, 4, 9, 50])
    jobs = [EndedJob(number, NOW - age, draw(sizes)) for number, age in enumerate(ages, 1)]
    rules = CleanRules(
        older_than=draw(some.none() | some.integers(0, 15).map(lambda hours: hours * HOUR + 1)),
        keep=draw(some.none() | some.integers(1, 20)),
        max_size=draw(some.none() | some.integers(1, 60)),
    )
    needed = {job.id for job in jobs if draw(some.integers(0, 3)) == 0}
    return Case(draw(some.permutations(jobs)), rules, needed)


@given(cases())
def test_what_is_needed_never_goes_and_nothing_goes_without_a_rule(case: Case) -> None:
    choice = case.choose()
    assert not case.needed & choice.going.keys()
    assert set(choice.spared) <= case.needed
    assert choose(case.jobs, NO_RULES, now=NOW) == Chosen({}, ())
    limits = {"age": case.rules.older_than, "number": case.rules.keep, "size": case.rules.max_size}
    assert all(limits[rule] is not None for rule in choice.going.values())


@given(cases())
def test_the_oldest_go_first_and_once_cleaned_nothing_more_goes(case: Case) -> None:
    choice = case.choose()
    ends = {job.id: job.ended for job in case.jobs}
    assert [ends[job] for job in choice.going] == sorted(ends[job] for job in choice.going)
    assert choice == case.choose(sorted(case.jobs))
    assert case.choose(case.staying()).going == {}


@given(cases())
def test_age_takes_all_that_is_older_and_nothing_younger(case: Case) -> None:
    older_than = case.rules.older_than
    by_age = {job for job, rule in case.choose().going.items() if rule == "age"}
    old = {job.id for job in case.jobs if older_than is not None and NOW - job.ended > older_than}
    assert by_age == old - case.needed


@given(cases())
def test_number_and_size_are_kept_to_but_for_what_is_needed_or_new(case: Case) -> None:
    staying, keep, max_size = case.staying(), case.rules.keep, case.rules.max_size
    movable = [job for job in staying if job.id not in case.needed]
    settled = [job for job in movable if NOW - job.ended >= FRESH_SECONDS]
    if keep is not None:
        newest_first = sorted(case.jobs, key=lambda job: (job.ended, job.id), reverse=True)
        ranks = {job.id: rank for rank, job in enumerate(newest_first)}
        assert all(ranks[job.id] < keep for job in settled)
        assert all(ranks[job.id] < 2 * keep for job in movable)
    if max_size is not None and staying:
        newest = max(staying, key=lambda job: (job.ended, job.id))
        total = sum(job.size for job in staying)
        assert total <= max_size or not any(job.size for job in settled if job != newest)
        assert total <= 2 * max_size or not any(job.size for job in movable if job != newest)


@given(cases())
def test_size_takes_no_job_while_an_older_one_with_output_stays(case: Case) -> None:
    ends = {job.id: (job.ended, job.id) for job in case.jobs}
    by_size = [ends[job] for job, rule in case.choose().going.items() if rule == "size"]
    older = [ends[job.id] for job in case.staying() if job.size and job.id not in case.needed]
    assert not by_size or all(end > max(by_size) for end in older)
    assert all(job.size for job in case.jobs if case.choose().going.get(job.id) == "size")


@given(cases(), some.none() | some.floats(0, 60 * HOUR), some.none() | some.integers(0, 20))
def test_what_is_asked_for_is_what_both_options_name(
    case: Case, older_than: float | None, keep: int | None
) -> None:
    asked = choose_asked(case.jobs, older_than=older_than, keep=keep, now=NOW, needed=case.needed)
    newest_first = sorted(case.jobs, key=lambda job: (job.ended, job.id), reverse=True)
    named = {
        job.id
        for rank, job in enumerate(newest_first)
        if (older_than, keep) != (None, None)
        and (keep is None or rank >= keep)
        and (older_than is None or NOW - job.ended > older_than)
    }
    assert asked.going.keys() == named - case.needed
    assert set(asked.spared) == named & case.needed


def test_a_batch_that_has_just_ended_is_kept_up_to_twice_the_number() -> None:
    rules = CleanRules(keep=100)
    batch = [EndedJob(number, NOW - 60, 0) for number in range(1, 501)]
    assert len(choose(batch[:200], rules, now=NOW).going) == 0
    assert list(choose(batch, rules, now=NOW).going) == list(range(1, 301))
    assert list(choose(batch, rules, now=NOW + HOUR).going) == list(range(1, 401))


def test_the_newest_output_stays_however_large() -> None:
    jobs = [EndedJob(1, NOW - 2 * HOUR, 30), EndedJob(2, NOW - HOUR, 500)]
    assert choose(jobs, CleanRules(max_size=20), now=NOW).going == {1: "size"}


@given(some.lists(some.tuples(some.floats(0, HOUR), some.floats(-40 * HOUR, 40 * HOUR)), max_size=20))
def test_time_is_never_ahead_of_the_wall_clock_nor_of_an_hour_s_jump(
    steps: list[tuple[float, float]],
) -> None:
    steady, wall = 5.0, NOW
    clock = PatientClock(wall, steady)
    for number, (passed, jump) in enumerate(steps, 1):
        steady, wall = steady + passed, wall + passed + jump
        now = clock.now(wall, steady)
        assert now <= wall + 1e-3
        if steady < JUMP_SECONDS:
            assert now <= NOW + steady + number * DRIFT_SECONDS


def test_a_clock_that_stays_ahead_is_believed_after_an_hour() -> None:
    clock = PatientClock(NOW, 0.0)
    assert clock.now(NOW + 40 * 24 * HOUR, 1.0) == NOW + 1.0
    assert clock.now(NOW + 40 * 24 * HOUR + HOUR + 1, HOUR + 2.0) == NOW + 40 * 24 * HOUR + HOUR + 1
    assert clock.now(NOW, HOUR + 3.0) == NOW


@given(some.lists(some.integers(1, 60)))
def test_ids_come_back_from_their_ranges(ids: list[int]) -> None:
    ranges = as_ranges(ids)
    assert [job for first, last in ranges for job in range(first, last + 1)] == sorted(set(ids))
    assert all(next_first > last + 1 for (_, last), (next_first, _) in pairwise(ranges))


def test_who_is_waited_for_or_shown_is_needed_for_so_long() -> None:
    table = JobTable()
    table.on_screen = {5, 6}
    needed = NeededJobs(table)
    with needed.holding([6, 7]):
        with needed.holding([7]):
            assert needed.all(shown=False) == {6: IS_WAITED_FOR, 7: IS_WAITED_FOR}
        assert needed.all(shown=True) == {5: IS_SHOWN, 6: IS_WAITED_FOR, 7: IS_WAITED_FOR}
        assert [needed.includes(job, shown=False) for job in (5, 6)] == [False, True]
        assert needed.includes(5, shown=True)
    assert needed.all(shown=False) == {}


# ---- the settings -------------------------------------------------------------------------------------------------


def read(tmp_path: Path, text: str) -> CleanSettings:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return read_clean_settings(str(path))


def test_the_rules_are_the_users(tmp_path: Path) -> None:
    assert read_clean_settings(str(tmp_path / "none.toml")) == CleanSettings(CleanRules())
    assert read(tmp_path, 'confirm = "ask"\n') == CleanSettings(CleanRules())
    text = '[clean]\nolder_than = "7d"\nkeep = 50\nmax_size = "1.5G"\n'
    assert read(tmp_path, text) == CleanSettings(CleanRules(7 * 86400.0, 50, 3 << 29))
    off = '[clean]\nolder_than = "never"\nkeep = "never"\nmax_size = "none"\n'
    assert read(tmp_path, off) == CleanSettings(NO_RULES)


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("older_than = 30", "older_than"),
        ('older_than = "30"', "older_than"),
        ('older_than = "0s"', "older_than"),
        ('older_than = "-1d"', "older_than"),
        ('older_than = "3 weeks"', "older_than"),
        ("older_than = []", "older_than"),
        ("keep = 0", "keep"),
        ("keep = -1", "keep"),
        ("keep = true", "keep"),
        ("keep = 1.5", "keep"),
        ('keep = "100"', "keep"),
        ("max_size = 20", "max_size"),
        ('max_size = "20"', "max_size"),
        ('max_size = "0G"', "max_size"),
        ('max_size = "much"', "max_size"),
    ],
)
def test_a_rule_that_makes_no_sense_cleans_nothing_and_the_others_count(
    line: str, rule: str, tmp_path: Path
) -> None:
    rules, notices = read(tmp_path, f"[clean]\n{line}\n")
    values = {name: getattr(rules, name) for name in ("older_than", "keep", "max_size")}
    assert values.pop(rule) is None
    assert all(value == getattr(CleanRules(), name) for name, value in values.items())
    (notice,) = notices
    assert f"config.toml: {rule} in [clean]: write a" in notice


def test_an_unknown_key_is_a_notice_and_changes_nothing(tmp_path: Path) -> None:
    rules, (notice,) = read(tmp_path, '[clean]\nolder-than = "1d"\n')
    assert rules == CleanRules()
    assert "there is no setting 'older-than' in [clean]; there are older_than, keep, max_size" in notice


@pytest.mark.parametrize("text", ["[clean\n", "clean = 3\n", "\x00"])
def test_a_file_that_cannot_be_read_cleans_nothing(text: str, tmp_path: Path) -> None:
    rules, (notice,) = read(tmp_path, text)
    assert rules == NO_RULES
    assert "no job is cleaned by rules until it can be read" in notice


# ---- the files ----------------------------------------------------------------------------------------------------


def test_a_hole_takes_no_room_and_a_link_is_not_followed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_bytes(b"x")
    folder = tmp_path / "7"
    folder.mkdir()
    (folder / "stdout").write_bytes(b"x" * 8192)
    os.truncate(folder / "stdout", 1 << 30)
    (folder / "link").symlink_to(kept)
    usage = usage_of(str(folder))
    assert usage is not None
    assert 8192 <= usage.size < 1 << 20
    assert usage_of(str(tmp_path / "none")) is None
    assert delete_folder(str(folder)) is None
    assert not folder.exists()
    assert kept.read_bytes() == b"x"
    assert delete_folder(str(folder)) is None
    (tmp_path / "8").symlink_to(tmp_path)
    assert "cannot delete" in (delete_folder(str(tmp_path / "8")) or "")
    assert kept.exists()


def fill(journal: Journal, count: int) -> list[int]:
    """Ended jobs, each with surroundings of its own."""
    ids: list[int] = []
    for number in range(count):
        place = type(PLACE)(environment={"NUMBER": str(number)}, cwd=PLACE.cwd, umask=PLACE.umask)
        ids += journal.add_jobs([spec("true", "cat", "sort")], place, AT)
        journal.job_ended(ended(ids[-1], spec("true", "cat", "sort")))
    journal.commit()
    return ids


def give_back(journal: Journal) -> int:
    rounds = 1
    while journal.incremental_vacuum(64):
        rounds += 1
    journal.drop_unused()
    shrink.vacuum(journal.home.journal)
    shrink.truncate(journal.home.journal)
    return rounds


@pytest.mark.parametrize("is_of_an_earlier_corral", [False, True])
def test_the_room_of_deleted_jobs_goes_back_to_the_disk(
    is_of_an_earlier_corral: bool, tmp_path: Path
) -> None:
    home = Home(str(tmp_path / "home"))
    Journal.open(home).close()
    if is_of_an_earlier_corral:
        with closing(sqlite3.connect(home.journal)) as connection:
            connection.execute("DROP INDEX surroundings_by_environment")
            connection.execute("PRAGMA auto_vacuum = NONE")
            connection.execute("VACUUM")
    with closing(Journal.open(home)) as journal:
        ids = fill(journal, 3000)
        full = os.path.getsize(home.journal) + os.path.getsize(home.journal + "-wal")
        journal.remove(ids[:-10])
        journal.commit()
        # 64 pages in each, and all at once where it was made without the mode.
        assert give_back(journal) == (1 if is_of_an_earlier_corral else 23)
        left = os.path.getsize(home.journal) + os.path.getsize(home.journal + "-wal")
        assert left < full / 2
        assert left < 1_500_000
        assert sorted(journal.ids()) == ids[-10:]
        assert journal.origin(ids[-1])[1].environment == {"NUMBER": "2999"}
        assert fill(journal, 1) == [ids[-1] + 1]
    with closing(sqlite3.connect(home.journal)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM environments").fetchone()
        assert count == 11
        assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)


def test_a_reader_keeps_nobody_waiting(tmp_path: Path) -> None:
    home = Home(str(tmp_path / "home"))
    with closing(Journal.open(home)) as journal:
        ids = fill(journal, 20)
        with closing(sqlite3.connect(home.journal)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM jobs").fetchone()
            journal.remove(ids)
            journal.commit()
            shrink.truncate(home.journal)
            assert os.path.getsize(home.journal + "-wal")
            assert shrink.checkpoint(home.journal).pages
            assert journal.ids() == set()


LOGGER = """
import os, sys
from corral.platform.host import daemon_log
daemon_log.LONGEST = 1000
daemon_log.keep_short(sys.argv[1])
for number in range(100):
    daemon_log.log(f"line {number}")
"""


def test_the_log_is_bounded_and_loses_no_line_that_is_new(tmp_path: Path) -> None:
    log, other = tmp_path / "daemon.log", tmp_path / "other"
    for path in (log, other):
        with open(path, "ab") as file:
            subprocess.run([sys.executable, "-c", LOGGER, str(log)], stderr=file, check=True)
    older = (tmp_path / "daemon.log.1").read_text().splitlines()
    lines = older + log.read_text().splitlines()
    assert [line.split()[-1] for line in lines] == [str(number) for number in range(100 - len(lines), 100)]
    assert len(older) > 20
    assert sorted(os.listdir(tmp_path)) == ["daemon.log", "daemon.log.1", "other"]
    # One that goes elsewhere, to the terminal of `daemon run` say, is nobody's to cut.
    assert len(other.read_text().splitlines()) == 100
