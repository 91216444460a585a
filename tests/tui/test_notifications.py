"""The bell and the title: what rings, how often, and that no child's control character gets into a title."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from corral.client.snapshot import Snapshot
from corral.model.home import Home
from corral.model.job import Job
from corral_tui.dashboard.notifications import (
    FIRST_GAP,
    LONGEST_GAP,
    BellPace,
    TerminalTitle,
    ringing,
    title_of,
)
from corral_tui.settings.dashboard import Settings, read_settings
from tui.fake_jobs import NOW, ended_job, job, stuck_job
from tui.fake_source import FakeSource
from tui.screens import running, until


def snapshot(*jobs: Job, rev: int = 1) -> Snapshot:
    return Snapshot(rev=rev, jobs={each.id: each for each in jobs})


def rang(old: Job | None, new: Job, bell: Any = "auto") -> bool:
    before = snapshot(old) if old else snapshot()
    return bool(ringing(before, snapshot(new, rev=2), bell))


RUNS = job(1, "train")
STUCK = stuck_job(1, "train", "waits")
ENDINGS = {
    "well": ended_job(1, "train", took=3600),
    "well at once": ended_job(1, "train", took=2),
    "failed at once": ended_job(1, "train", "failed", took=0.1),
    "timed out": ended_job(1, "train", "timed_out"),
    "lost": ended_job(1, "train", "lost"),
    "stopped": ended_job(1, "train", "stopped", reason="stopped from the dashboard", took=3600),
    "stopped as it was stuck": ended_job(1, "train", "stopped", reason="stuck: cat waits for input"),
    "hidden": ended_job(1, "train", "failed", hidden=True),
}


@pytest.mark.parametrize(
    ("bell", "ring"),
    [
        ("auto", {"well", "failed at once", "timed out", "lost", "stopped as it was stuck"}),
        ("all", {"well", "well at once", "failed at once", "timed out", "lost", "stopped as it was stuck"}),
        ("stuck", {"stopped as it was stuck"}),
        ("never", set()),
    ],
)
def test_which_ends_ring(bell: str, ring: set[str]) -> None:
    assert {name for name, ended in ENDINGS.items() if rang(RUNS, ended, bell)} == ring
    assert rang(RUNS, STUCK, bell) is (bell != "never")
    # What has been said is not said again, also where something else of the job has changed.
    assert not any(rang(ended, structs.replace(ended, leftovers=1), bell) for ended in ENDINGS.values())
    assert not rang(STUCK, structs.replace(STUCK, cpu_percent=1.0), bell)


def test_a_job_that_came_and_failed_between_two_snapshots_rings() -> None:
    assert rang(None, ENDINGS["failed at once"])


def test_what_was_so_at_the_first_look_does_not_ring() -> None:
    assert not ringing(Snapshot(), snapshot(STUCK, ended_job(2, "lint", "failed")), "all")


def test_three_hundred_ends_ring_a_few_times_until_a_key_is_pressed() -> None:
    pace = BellPace()
    rings = [second for second in range(300) if pace.may_ring(float(second))]
    assert rings[0] == 0
    assert rings[1] >= FIRST_GAP
    assert 5 <= len(rings) <= 8
    assert not pace.may_ring(301.0)
    pace.touched()
    assert pace.may_ring(301.0)
    assert LONGEST_GAP > 200


def test_the_title_says_what_matters_first() -> None:
    failed = ended_job(2, "lint", "failed")
    assert title_of(snapshot(), ()) == "corral"
    assert title_of(snapshot(RUNS, failed), ()) == "corral: 1 running"
    assert title_of(snapshot(STUCK), (STUCK,)) == "[1 STUCK] 1 train - corral"
    assert title_of(snapshot(STUCK, failed), (STUCK, failed)) == "[1 STUCK, 1 failed] corral"
    assert title_of(Snapshot(trouble="daemon gone, retrying 3s"), (STUCK,)) == "[daemon gone] corral"
    long = stuck_job(3, "n" * 200, "waits")
    assert len(title_of(snapshot(long), (long,))) == 60


def test_a_title_is_one_sequence_whatever_the_child_is_called() -> None:
    written: list[str] = []
    title = TerminalTitle(written.append)
    hostile = structs.replace(STUCK, name="a\x07b\x1b]0;x\x9c\r\n[/]")
    title.put(title_of(snapshot(hostile), (hostile,)))
    title.put(title_of(snapshot(hostile), (hostile,)))
    title.lend()
    title.put("corral")
    title.give_back()
    title.give_back()
    assert written == [
        "\x1b[22;2t\x1b]2;[1 STUCK] 1 a·b·]0;x·  [/] - corral\a",
        "\x1b[23;2t\x1b[22;2t",
        "\x1b]2;corral\a",
        "\x1b[23;2t",
    ]


async def test_the_dashboard_rings_once_for_many_and_says_it_in_the_title() -> None:
    source = FakeSource([job(number, f"enc-{number}") for number in range(1, 21)])
    async with running(source) as (app, pilot):
        assert (app.notices.bells, app.notices.shown_title) == (0, "corral: 20 running")
        source.put(*(ended_job(number, f"enc-{number}", "failed") for number in range(1, 11)))
        await until(lambda: app.notices.bells == 1, "the bell")
        source.put(*(ended_job(number, f"enc-{number}", "failed") for number in range(11, 15)))
        source.put(stuck_job(20, "enc-20", "waits"))
        await until(lambda: app.notices.shown_title == "[1 STUCK, 14 failed] corral", "the title")
        assert app.notices.bells == 1
        await pilot.press("!")


async def test_what_the_user_saw_end_does_not_ring_and_a_demo_never_does() -> None:
    source = FakeSource([job(1, "vim"), job(2, "build")])
    async with running(source) as (app, _):
        app.notices.saw("1")
        source.put(ended_job(1, "vim", "failed", ended_ago=1))
        await until(lambda: app.snapshot.jobs["1"].is_ended, "its end")
        assert app.notices.bells == 0
        source.is_private = True  # type: ignore[misc]
        source.put(ended_job(2, "build", "failed"))
        await until(lambda: app.snapshot.jobs["2"].is_ended, "its end")
        assert app.notices.bells == 0
        assert app.clock() == NOW


def test_both_can_be_turned_off(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('bell = "never"\ntitle = false\n[run]\nstuck_after = "5m"\non_stuck = "stop"\n')
    settings = read_settings(Home(str(tmp_path)), str(config))
    assert (settings.bell, settings.title, settings.notice) == ("never", False, None)
    assert (settings.run.stuck_after, settings.run.on_stuck) == (300.0, "stop")


@pytest.mark.parametrize(
    ("text", "notice"),
    [
        ('bell = "loud"\n', 'config.toml: bell is "auto", "stuck", "all" or "never"'),
        ("bell = true\n", 'bell is "auto", "stuck", "all" or "never"'),
        ('title = "no"\n', "title is true or false"),
        ("title = 1\n", "title is true or false"),
        (
            '[run]\nstuck_after = "soon"\n',
            'stuck_after in [run]: write a duration, such as "5m"; until then it is 60s',
        ),
    ],
)
def test_what_makes_no_sense_is_told_and_the_rest_counts(text: str, notice: str, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'confirm = "never"\n{text}')
    settings = read_settings(Home(str(tmp_path)), str(config))
    assert notice in (settings.notice or "")
    assert not settings.asks
    assert (settings.bell, settings.title) == (Settings().bell, Settings().title)


def test_the_order_is_remembered(tmp_path: Path) -> None:
    home, config = Home(str(tmp_path)), str(tmp_path / "config.toml")
    settings = read_settings(home, config)
    settings.pin("table")
    settings.keep_order("status", is_reversed=True)
    again = read_settings(home, config)
    assert (again.view, again.order, again.is_reversed) == ("table", "status", True)
    (tmp_path / "dashboard.toml").write_text('order = "[/]"\nreversed = 3\n')
    assert (read_settings(home, config).order, read_settings(home, config).is_reversed) == ("started", False)
