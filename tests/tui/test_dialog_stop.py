"""Stopping on the screen: the question, the sequence, the proof; on the real board, with a scripted daemon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from corral.model.errors import NotSoError
from corral.model.job import ProcessView
from corral.model.reports import StoppedProcess, StopReport, Survivor
from corral.protocol.requests import (
    AskStopping,
    HideJobs,
    ListProcesses,
    PauseJobs,
    Processes,
    RestartJobs,
    SignalJobs,
    StartJobs,
    StopJobs,
    Stops,
)
from corral_tui.dashboard.app import DashboardApp
from corral_tui.dashboard.dialogs.stop import StopDialog
from corral_tui.dashboard.dialogs.stop_text import WIDEST, ProcessNotes, ending_sentence, progress_lines
from corral_tui.dashboard.paint import lines
from corral_tui.settings.dashboard import Settings
from corral_tui.text.charset import ASCII, UNICODE
from tui.fake_jobs import NOW, ended_job, job, stopping_job
from tui.fake_source import FakeSource
from tui.screens import running, screen_text, shown, until
from tui.settled import assert_settled_snapshot
from tui.test_board_screens import SIZES, six

ACTING = (StopJobs, RestartJobs, HideJobs, PauseJobs, SignalJobs, StartJobs)
FORKED = "its own session, forked off"


def tree() -> tuple[ProcessView, ...]:
    """pytest with four workers, and a postgres that left the session."""
    leader = ProcessView(
        pid=48301,
        name="pytest",
        command="pytest -x -n 4 tests/",
        stage=1,
        is_leader=True,
        where="leader",
        does="runs",
    )
    workers = [
        ProcessView(pid=48310 + n, name="python", command="python -c", stage=1, does="runs") for n in range(4)
    ]
    server = ProcessView(
        pid=48340,
        name="[/]postgres",
        command="postgres -D [/]",
        stage=1,
        where=FORKED,
        does="waits for a client",
    )
    helpers = [
        ProcessView(pid=48341 + n, name="postgres", command="postgres: x", stage=1, where="its own session")
        for n in range(3)
    ]
    return (leader, *workers, server, *helpers)


def stopped(
    pid: int, name: str, *, by: str | None, signals: tuple[str, ...] = ("TERM",), **rest: Any
) -> StoppedProcess:
    return StoppedProcess(
        pid=pid, name=name, stage=1, signals=signals, ended_by=by, seconds=rest.pop("seconds", 0.4), **rest
    )


def going_on(**changes: Any) -> StopReport:
    processes = (
        stopped(48301, "pytest", by="exit 2", seconds=0.3, where="leader"),
        *(stopped(48310 + n, "python", by="TERM") for n in range(4)),
        stopped(48340, "[/]postgres", by=None, seconds=None, where=FORKED),
        *(stopped(48341 + n, "postgres", by="itself", signals=(), seconds=1.9) for n in range(3)),
    )
    return structs.replace(
        StopReport(id="6", state="stopping", seconds=3.0, processes=processes, kill_in=2.0, grace=5.0),
        **changes,
    )


def over() -> StopReport:
    report = going_on(state="stopped", seconds=5.1, kill_in=None, looked_at=NOW)
    processes = tuple(
        one if one.ended_by else structs.replace(one, ended_by="KILL", signals=("TERM", "KILL"), seconds=5.1)
        for one in report.processes
    )
    return structs.replace(report, processes=processes)


def scripted(tmp_path: Path, report: StopReport | None = None) -> FakeSource:
    source = six(tmp_path)
    source.answers[ListProcesses] = Processes(tree())
    if report is not None:
        source.answers[StopJobs] = Stops((report,))
        source.answers[AskStopping] = Stops((report,))
    return source


async def asked(app: DashboardApp, *job_ids: str, **more: Any) -> StopDialog:
    """The question, painted, the focus on *leave it*."""
    dialog = StopDialog(app, job_ids, **more)
    app.show_dialog(dialog)
    await until(
        lambda: any(one.key == "n" and one.has_focus for one in dialog.choices()), "the focus on leave it"
    )
    if len(job_ids) == 1:
        await until(lambda: dialog.processes, "the list of processes")
        await shown(app, lambda text: "48301" in text, "the processes")
    return dialog


@pytest.mark.parametrize("size", SIZES)
async def test_the_question_names_the_processes(size: tuple[int, int], tmp_path: Path) -> None:
    async with running(scripted(tmp_path), size) as (app, _):
        await asked(app, "6")
        await assert_settled_snapshot(app, f"stop_question_{size[0]}x{size[1]}")


@pytest.mark.parametrize("size", SIZES)
async def test_the_sequence_going_on(size: tuple[int, int], tmp_path: Path) -> None:
    async with running(scripted(tmp_path, going_on()), size) as (app, pilot):
        await asked(app, "6")
        await pilot.press("y")
        await shown(app, lambda text: "Stopping 6 tests" in text and "ignores" in text, "the stop sequence")
        await assert_settled_snapshot(app, f"stop_going_on_{size[0]}x{size[1]}")


@pytest.mark.parametrize("width", [100, 120, 135, 136, 160])
def test_what_each_process_does_now_has_room_in_every_table(width: int) -> None:
    known = ProcessNotes({}, {48340: "waits for a lock"})
    heading, *drawn = (lines.text(line) for line in progress_lines(going_on(), known, width, UNICODE))
    assert all(len(line) <= width for line in (heading, *drawn))
    assert {line.find(" gone") for line in drawn} == {heading.index("NOW") + 1, -1}
    (still,) = [line for line in drawn if "48340" in line]
    assert still.find("… ignores it: waits") == heading.index("NOW")
    if width >= WIDEST:
        assert FORKED in still


async def test_the_end_is_a_sentence_with_a_number(tmp_path: Path) -> None:
    async with running(scripted(tmp_path, over())) as (app, pilot):
        await asked(app, "6")
        await pilot.press("y")
        text = await shown(app, lambda text: "6 tests is stopped" in text, "the end")
        assert "Nothing of it is left. 9 processes: 5 by TERM, 3 by themselves, 1 by KILL." in text
        assert "looked at 14:02:11, over every process of this machine" in text


async def test_who_cannot_die_is_named_with_the_reason(tmp_path: Path) -> None:
    survivor = Survivor(
        pid=48990,
        name="tar",
        stage=1,
        state="D",
        blocked_in="nfs_wait_bit_killable",
        reason="the file server [/] is silent",
    )
    report = going_on(kill_in=None, seconds=31.0, survivors=(survivor,))
    async with running(scripted(tmp_path, report)) as (app, pilot):
        await asked(app, "6")
        await pilot.press("y")
        text = await shown(app, lambda text: "could not be stopped" in text, "the survivor")
        assert "48990 tar" in text
        assert "(state D) in nfs_wait_bit_killable" in text
        assert "Corral goes on looking" in text


async def test_y_stops_just_these_jobs_from_the_dashboard(tmp_path: Path) -> None:
    source = scripted(tmp_path)
    async with running(source) as (app, pilot):
        await asked(app, "6")
        await pilot.press("y")
        await until(lambda: source.asked(StopJobs), "the request")
    assert source.asked(StopJobs) == [StopJobs(ids=("6",), wait=False, by="from the dashboard")]


async def test_zero_kills_without_a_grace(tmp_path: Path) -> None:
    source = scripted(tmp_path)
    async with running(source) as (app, pilot):
        await asked(app, "6")
        await pilot.press("0")
        await until(lambda: source.asked(StopJobs), "the request")
    assert source.asked(StopJobs)[0].grace == 0.0


async def test_plus_and_minus_change_the_grace(tmp_path: Path) -> None:
    source = scripted(tmp_path)
    async with running(source) as (app, pilot):
        await asked(app, "6")
        await pilot.press("plus", "plus", "minus")
        await shown(app, lambda text: "grace 10 s" in text and "after 10 s KILL" in text, "the longer grace")
        await pilot.press("y")
        await until(lambda: source.asked(StopJobs), "the request")
    assert source.asked(StopJobs)[0].grace == 10.0


@pytest.mark.parametrize("key", ["n", "escape", "enter"])
async def test_what_leaves_it_running(key: str, tmp_path: Path) -> None:
    """Enter by habit hits the button with the focus, which is *leave it*."""
    source = scripted(tmp_path)
    async with running(source) as (app, pilot):
        await asked(app, "6")
        await pilot.press(key)
        await until(lambda: app.dialog is None, "the dialog to close")
    assert not source.asked(StopJobs)


async def test_the_buttons_are_reached_by_arrows_and_act_on_enter(tmp_path: Path) -> None:
    source = scripted(tmp_path)
    async with running(source) as (app, pilot):
        await asked(app, "6")
        await pilot.press("h", "enter")
        await until(lambda: source.asked(StopJobs), "the request")
    assert source.asked(StopJobs)[0].grace is None


async def test_the_buttons_can_be_clicked(tmp_path: Path) -> None:
    source = scripted(tmp_path)
    async with running(source) as (app, pilot):
        await asked(app, "6")
        await pilot.click("#now")
        await until(lambda: source.asked(StopJobs), "the request")
    assert source.asked(StopJobs)[0].grace == 0.0


@pytest.mark.parametrize("key", ["s", "q", "Q", "r", "x", "p", "j", "d", "a"])
async def test_other_keys_do_nothing_while_it_asks(key: str, tmp_path: Path) -> None:
    source = scripted(tmp_path)
    async with running(source) as (app, pilot):
        dialog = await asked(app, "6")
        await pilot.press(key)
        await pilot.pause()
        assert app.dialog is dialog
        assert app.is_running
        assert not [each for each in source.requests if isinstance(each, ACTING)]


async def test_a_second_s_and_y_skip_the_grace(tmp_path: Path) -> None:
    source = scripted(tmp_path, going_on())
    async with running(source) as (app, pilot):
        await asked(app, "6")
        await pilot.press("y")
        await shown(app, lambda text: "Stopping 6 tests" in text, "the stop sequence")
        await pilot.press("s")
        await shown(app, lambda text: "kill the 1 left now" in text, "the second question")
        await pilot.press("y")
        await until(lambda: len(source.asked(StopJobs)) == 2, "the second request")
    assert [each.grace for each in source.asked(StopJobs)] == [None, 0.0]


async def test_a_job_that_is_being_stopped_is_asked_about_the_grace(tmp_path: Path) -> None:
    source = FakeSource([stopping_job(6, "tests")], home=str(tmp_path))
    source.answers[AskStopping] = Stops((going_on(),))
    async with running(source) as (app, pilot):
        app.show_dialog(StopDialog(app, ("6",)))
        await shown(app, lambda text: "kill the 1 left now" in text, "the question")
        await pilot.press("n")
        await shown(app, lambda text: "skip the grace" in text, "the sequence")
    assert not source.asked(StopJobs)


async def test_esc_hides_the_dialog_and_not_the_stopping(tmp_path: Path) -> None:
    source = scripted(tmp_path, going_on())
    async with running(source) as (app, pilot):
        await asked(app, "6")
        await pilot.press("y")
        await shown(app, lambda text: "Stopping 6 tests" in text, "the stop sequence")
        await pilot.press("escape")
        await until(lambda: app.dialog is None, "the dialog to close")
    assert len(source.asked(StopJobs)) == 1


async def test_a_job_that_ends_meanwhile_says_so_and_the_dialog_closes(tmp_path: Path) -> None:
    source = scripted(tmp_path)
    async with running(source) as (app, _):
        await asked(app, "6")
        source.put(ended_job(6, "tests"))
        await shown(app, lambda text: "6 tests ended by itself: succeeded" in text, "the notice")
        await until(lambda: app.dialog is None, "the dialog to close")
    assert not source.asked(StopJobs)


async def test_several_jobs_are_named_those_hidden_by_the_filter_too(tmp_path: Path) -> None:
    source = scripted(tmp_path)
    async with running(source) as (app, pilot):
        await asked(app, "1", "2", "4", hidden_by_filter=("4",))
        text = screen_text(app)
        assert "Stop 3 jobs?" in text
        assert "1 of them is hidden by the filter: 4 fetch-index" in text
        source.put(ended_job(2, "build"))
        await shown(app, lambda text: "Stop 2 jobs?" in text, "the job that ended to go")
        await pilot.press("y")
        await until(lambda: source.asked(StopJobs), "the request")
    assert source.asked(StopJobs)[0].ids == ("1", "4")


async def test_several_jobs_end_with_a_sum(tmp_path: Path) -> None:
    source = scripted(tmp_path)
    reports = tuple(structs.replace(over(), id=each) for each in ("1", "2"))
    source.answers[StopJobs] = Stops(reports)
    source.answers[AskStopping] = Stops(reports)
    async with running(source) as (app, pilot):
        await asked(app, "1", "2")
        await pilot.press("y")
        await shown(app, lambda text: "Nothing of them is left" in text, "the end")
        assert "2 jobs are stopped" in screen_text(app)
        assert (
            "Nothing of them is left. 18 processes: 10 by TERM, 6 by themselves, 2 by KILL."
            in screen_text(app)
        )


async def test_never_confirm_skips_the_question(tmp_path: Path) -> None:
    source = scripted(tmp_path, going_on())
    async with running(source, settings=Settings(confirm="never")) as (app, _):
        app.show_dialog(StopDialog(app, ("6",)))
        await shown(app, lambda text: "Stopping 6 tests" in text, "the stop sequence")
    assert source.asked(StopJobs)


async def test_an_error_is_one_line_and_loses_nothing(tmp_path: Path) -> None:
    source = scripted(tmp_path)
    source.answers[StopJobs] = NotSoError("the daemon is going down; try again")
    async with running(source) as (app, pilot):
        await asked(app, "6")
        await pilot.press("y")
        await shown(app, lambda text: "the daemon is going down; try again" in text, "the error")
        assert "Stop 6 tests?" in screen_text(app)


@pytest.mark.parametrize(("key", "kind"), [("r", RestartJobs), ("x", HideJobs)])
async def test_what_can_be_done_with_a_stopped_job(key: str, kind: type[Any], tmp_path: Path) -> None:
    """They act on the job of the dialog, not on the one that is selected."""
    source = scripted(tmp_path, over())
    async with running(source) as (app, pilot):
        await asked(app, "6")
        await pilot.press("y")
        await shown(app, lambda text: "is stopped" in text, "the end")
        source.put(ended_job(6, "tests", "stopped"))
        await until(lambda: app.snapshot.jobs["6"].is_ended, "the job to be stopped")
        await pilot.press(key)
        await until(lambda: source.asked(kind), "the request")
    assert source.asked(kind)[0].ids == ("6",)


async def test_hostile_names_are_text(tmp_path: Path) -> None:
    bad = "[/][@click=app.quit]\x1b]0;x\x07\x1b[31m"
    source = FakeSource([job(6, bad, command=bad)], home=str(tmp_path))
    source.answers[ListProcesses] = Processes(
        (ProcessView(pid=1, name=bad, command=bad, stage=1, where=bad, does=bad),)
    )
    async with running(source, (160, 50), charset=ASCII) as (app, _):
        app.show_dialog(StopDialog(app, ("6",)))
        text = await shown(app, lambda text: "Stop 6" in text and "TERM to it" in text, "the question")
        assert "[@click=app.quit]" in text
        assert "\x1b" not in text


def test_a_process_that_exits_after_a_signal_ended_by_that_signal() -> None:
    report = StopReport(
        id="1",
        state="stopped",
        seconds=1.0,
        processes=(stopped(1, "a", by="exit 0"), stopped(2, "b", by="itself", signals=())),
    )
    assert ending_sentence(report) == "Nothing of it is left. 2 processes: 1 by TERM, 1 by itself."


def test_a_job_that_never_started_has_no_processes_to_count() -> None:
    report = StopReport(id="1", state="stopped", seconds=0.0, note="never started")
    assert ending_sentence(report) == "Nothing of it is left: never started."
