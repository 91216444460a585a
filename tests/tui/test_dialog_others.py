"""Signal, restart and leave: what each names, asks and sends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from corral.model.errors import NotSoError
from corral.model.reports import StopReport, Survivor
from corral.protocol.requests import (
    AskStopping,
    ListProcesses,
    Outcome,
    Processes,
    RestartJobs,
    SignalJobs,
    StopJobs,
    Stops,
)
from corral_tui.dashboard.app import DashboardApp
from corral_tui.dashboard.dialogs.base import BottomDialog
from corral_tui.dashboard.dialogs.quit import QuitDialog
from corral_tui.dashboard.dialogs.restart import RestartDialog
from corral_tui.dashboard.dialogs.signal import SignalDialog
from corral_tui.settings.dashboard import Settings
from tui.fake_jobs import ended_job, job
from tui.fake_source import FakeSource
from tui.screens import board_of, running, screen_text, shown, until
from tui.settled import assert_settled_snapshot
from tui.test_board_screens import SIZES, six
from tui.test_dialog_stop import tree


async def opened(app: DashboardApp, dialog: BottomDialog) -> None:
    app.show_dialog(dialog)
    await until(
        lambda: any(one.key == "n" and one.has_focus for one in dialog.choices()),
        "the focus on the harmless one",
    )


def ended(job_id: str, **changes: Any) -> StopReport:
    return structs.replace(StopReport(id=job_id, state="stopped", seconds=0.2), **changes)


# ---- signal ---------------------------------------------------------------------------------------------------------


def signalled(tmp_path: Path) -> FakeSource:
    source = six(tmp_path)
    source.answers[ListProcesses] = Processes(tree())
    return source


@pytest.mark.parametrize("size", SIZES)
async def test_the_menu_of_signals(size: tuple[int, int], tmp_path: Path) -> None:
    async with running(signalled(tmp_path), size) as (app, _):
        dialog = SignalDialog(app, "6", 48340)
        await opened(app, dialog)
        await shown(app, lambda text: "48340 [/]postgres" in text or "postgr" in text, "the process")
        await assert_settled_snapshot(app, f"signal_{size[0]}x{size[1]}")


@pytest.mark.parametrize(
    ("keys", "wanted"),
    [
        ("y", {"signal": "CONT", "tree": False, "pid": 48340}),
        ("ly", {"signal": "CONT", "tree": False, "pid": None}),
        ("lljy", {"signal": "USR1", "tree": True, "pid": None}),
        ("hky", {"signal": "STOP", "tree": True, "pid": None}),
    ],
)
async def test_a_signal_goes_to_its_target_alone(keys: str, wanted: dict[str, Any], tmp_path: Path) -> None:
    source = signalled(tmp_path)
    async with running(source) as (app, pilot):
        dialog = SignalDialog(app, "6", 48340)
        await opened(app, dialog)
        await until(lambda: dialog.processes, "the processes")
        await pilot.press(*keys)
        await until(lambda: app.dialog is None, "the dialog to close")
    assert source.asked(SignalJobs) == [SignalJobs(ids=("6",), **wanted)]


async def test_enter_by_habit_sends_nothing(tmp_path: Path) -> None:
    source = signalled(tmp_path)
    async with running(source) as (app, pilot):
        await opened(app, SignalDialog(app, "6"))
        await pilot.press("enter")
        await until(lambda: app.dialog is None, "the dialog to close")
    assert not source.asked(SignalJobs)


@pytest.mark.parametrize("refusal", [Outcome(errors=("6: [/] has ended",)), NotSoError("6: [/] has ended")])
async def test_a_refused_signal_says_why(refusal: Any, tmp_path: Path) -> None:
    source = signalled(tmp_path)
    source.answers[SignalJobs] = refusal
    async with running(source) as (app, pilot):
        await opened(app, SignalDialog(app, "6"))
        await pilot.press("y")
        await shown(app, lambda text: "6: [/] has ended" in text, "the refusal")


async def test_a_click_chooses_a_signal(tmp_path: Path) -> None:
    source = signalled(tmp_path)
    async with running(source, (160, 50)) as (app, pilot):
        dialog = SignalDialog(app, "6")
        await opened(app, dialog)
        await pilot.click("#signal-menu", offset=(3, 0))
        await until(lambda: dialog.chosen == 0, "the first signal")


# ---- restart --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
async def test_restarting_what_runs_asks(size: tuple[int, int], tmp_path: Path) -> None:
    source = six(tmp_path)
    async with running(source, size) as (app, _):
        await opened(app, RestartDialog(app, "3"))
        await assert_settled_snapshot(app, f"restart_{size[0]}x{size[1]}")
    assert not source.asked(RestartJobs)


async def test_y_restarts_it_and_selects_the_new_run(tmp_path: Path) -> None:
    source = six(tmp_path)
    async with running(source) as (app, pilot):
        await opened(app, RestartDialog(app, "3"))
        await pilot.press("y")
        await until(lambda: app.dialog is None, "the dialog to close")
        await until(
            lambda: board_of(app).job is not None and board_of(app).job.id == "10", "the new run selected"
        )
    assert source.asked(RestartJobs) == [RestartJobs(ids=("3",))]


@pytest.mark.parametrize("confirm", ["ask", "never"])
async def test_what_needs_no_question(confirm: Any, tmp_path: Path) -> None:
    """An ended job is run again at once; with confirm = never a running one too."""
    source = six(tmp_path)
    async with running(source, settings=Settings(confirm=confirm)) as (app, _):
        app.show_dialog(RestartDialog(app, "7" if confirm == "ask" else "3"))
        await until(lambda: source.asked(RestartJobs), "the request")


async def test_survivors_keep_it_from_starting_and_are_said(tmp_path: Path) -> None:
    source = six(tmp_path)
    source.answers[RestartJobs] = NotSoError("3: 48990 tar survives [/]; nothing was started")
    async with running(source) as (app, pilot):
        await opened(app, RestartDialog(app, "3"))
        await pilot.press("y")
        await shown(app, lambda text: "48990 tar survives [/]" in text, "the reason")
        assert "3 nightly-dump was not restarted" in screen_text(app)
        await pilot.press("escape")
        await until(lambda: app.dialog is None, "the dialog to close")


# ---- stop all and leave ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
async def test_leaving_names_all_that_it_ends(size: tuple[int, int], tmp_path: Path) -> None:
    source = six(tmp_path)
    for job_id in ("1", "2", "4", "5"):
        source.change(job_id, origin="dashboard")
    async with running(source, size) as (app, _):
        await opened(app, QuitDialog(app))
        await assert_settled_snapshot(app, f"quit_{size[0]}x{size[1]}")


async def test_y_ends_all_and_then_leaves(tmp_path: Path) -> None:
    source = six(tmp_path)
    source.answers[AskStopping] = lambda request: Stops(tuple(ended(each) for each in request.ids))
    async with running(source) as (app, pilot):
        await opened(app, QuitDialog(app))
        source.answers[StopJobs] = Stops(())
        await pilot.press("y")
        await until(lambda: source.asked(StopJobs), "the request")
        for job_id in "123456":
            source.put(ended_job(job_id, "x", "stopped"))
        await until(lambda: not app.is_running, "the dashboard to leave")
    assert source.asked(StopJobs)[0].ids == ("1", "2", "3", "4", "5", "6")
    assert app.return_code == 0


async def test_what_is_left_is_named_before_leaving(tmp_path: Path) -> None:
    survivor = Survivor(
        pid=48990, name="tar", stage=1, state="D", blocked_in="nfs_wait", reason="nfs [/] is silent"
    )
    source = FakeSource([job(1, "backup"), job(2, "other")], home=str(tmp_path))
    left = ended("1", state="stopping", survivors=(survivor,))
    source.answers[StopJobs] = Stops(())
    source.answers[AskStopping] = Stops((left, ended("2")))
    async with running(source) as (app, pilot):
        await opened(app, QuitDialog(app))
        await pilot.press("y")
        text = await shown(app, lambda text: "48990 tar" in text, "what is left")
        assert "Not all of it has ended" in text
        assert "1 backup could not be ended" in text
        assert "48990 tar" in text
        assert app.is_running
        await pilot.press("q")
        await until(lambda: not app.is_running, "the dashboard to leave")


async def test_a_job_that_started_meanwhile_is_not_ended_unasked(tmp_path: Path) -> None:
    source = FakeSource([job(1, "backup")], home=str(tmp_path))
    source.answers[StopJobs] = Stops(())
    source.answers[AskStopping] = lambda request: Stops(tuple(ended(each) for each in request.ids))
    async with running(source) as (app, pilot):
        await opened(app, QuitDialog(app))
        source.put(job(2, "late"))
        await until(lambda: "2" in app.snapshot.jobs, "the second job")
        await pilot.press("y")
        await shown(app, lambda text: "2 late started meanwhile" in text, "the second job named")
        assert source.asked(StopJobs)[0].ids == ("1",)
        source.put(ended_job(1, "backup", "stopped"))
        await until(lambda: app.snapshot.jobs["1"].is_ended, "the first job to end")
        await pilot.press("y")
        await until(lambda: len(source.asked(StopJobs)) == 2, "the second request")
    assert source.asked(StopJobs)[1].ids == ("2",)


@pytest.mark.parametrize("key", ["n", "escape", "enter"])
async def test_what_stays_ends_nothing(key: str, tmp_path: Path) -> None:
    source = six(tmp_path)
    async with running(source) as (app, pilot):
        await opened(app, QuitDialog(app))
        await pilot.press(key)
        await until(lambda: app.dialog is None, "the dialog to close")
        assert app.is_running
    assert not source.asked(StopJobs)
