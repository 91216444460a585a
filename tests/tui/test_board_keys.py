"""What the keys and the mouse do on the board."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs
from textual.widget import Widget

from corral.model.errors import NotSoError
from corral.protocol.protocol_number import FIRST_QUEUED
from corral.protocol.requests import (
    AskRecentHistory,
    HideJobs,
    PauseJobs,
    RestartJobs,
    ResumeJobs,
    StopJobs,
    Subscribe,
    WatchJobs,
)
from corral_tui.dashboard.app import DashboardApp
from corral_tui.settings.dashboard import Settings
from tui.fake_jobs import Clock, ended_job, job, many_jobs, six_jobs, stuck_job, three_hundred_jobs
from tui.fake_source import FakeSource
from tui.screens import board_of, running, screen_text, shown, until


@pytest.fixture
def source(tmp_path: Path) -> FakeSource:
    return FakeSource(six_jobs(), home=str(tmp_path))


def selected(app: DashboardApp) -> str | None:
    return board_of(app).model.selected_id


async def test_at_opening_the_stuck_job_is_selected(source: FakeSource) -> None:
    async with running(source) as (app, _):
        assert selected(app) == "4"


@pytest.mark.parametrize(
    ("keys", "chosen"),
    [
        ("g", "1"),
        ("G", "6"),
        ("g j j", "3"),
        ("G k", "5"),
        ("home down", "2"),
        ("end up", "5"),
        ("g pagedown", "6"),
        ("G ctrl+u", "3"),
        ("g exclamation_mark", "4"),
    ],
)
async def test_moving(keys: str, chosen: str, source: FakeSource) -> None:
    async with running(source) as (app, pilot):
        await pilot.press(*keys.split())
        assert selected(app) == chosen


async def test_moving_among_panels_side_by_side(source: FakeSource) -> None:
    async with running(source, (160, 50)) as (app, pilot):
        await pilot.press("g", "l")
        assert selected(app) == "2"
        await pilot.press("j")
        assert selected(app) == "4"
        await pilot.press("h", "j", "j", "j")
        assert selected(app) == "5"


async def test_pausing_and_letting_go_on(source: FakeSource) -> None:
    async with running(source) as (app, pilot):
        await pilot.press("g", "p")
        await until(lambda: source.asked(PauseJobs), "the request to pause")
        assert source.asked(PauseJobs)[0].ids == ("1",)
        await shown(app, lambda text: "paused 1 train" in text, "the answer in line 2")
        await until(lambda: app.snapshot.jobs["1"].state == "paused", "the job to be paused")
        await pilot.press("p")
        await until(lambda: source.asked(ResumeJobs), "the request to go on")


async def test_restart_of_an_ended_job_is_done_at_once(tmp_path: Path) -> None:
    source = FakeSource([job(1, "a"), ended_job(2, "b", "failed")], home=str(tmp_path))
    async with running(source) as (app, pilot):
        await pilot.press("G", "r")
        await until(lambda: source.asked(RestartJobs), "the request to restart")
        assert source.asked(RestartJobs)[0].ids == ("2",)
        await until(lambda: selected(app) == "3", "the new job to be selected")


async def test_x_takes_only_an_ended_job_off_the_list(tmp_path: Path) -> None:
    source = FakeSource([job(1, "a"), ended_job(2, "b", "failed")], home=str(tmp_path))
    async with running(source) as (app, pilot):
        await pilot.press("g", "x")
        await shown(app, lambda text: "1 a runs; s stops it" in text, "the reason why not")
        assert not source.asked(HideJobs)
        await pilot.press("G", "x")
        await shown(
            app, lambda text: " b " not in text.split("off the list")[-1], "the job to be off the list"
        )
        assert source.asked(HideJobs)[0].ids == ("2",)


async def test_an_error_of_the_daemon_is_said_in_line_2(source: FakeSource) -> None:
    source.answers[PauseJobs] = NotSoError("job 1 does not run: [/]")
    async with running(source) as (app, pilot):
        await pilot.press("g", "p")
        text = await shown(app, lambda text: "does not run" in text, "the error")
        assert text.splitlines()[1].strip() == "job 1 does not run: [/]"


async def test_the_view_is_pinned_and_remembered(source: FakeSource, tmp_path: Path) -> None:
    settings = Settings(state_file=str(tmp_path / "dashboard.toml"))
    async with running(source, settings=settings) as (app, pilot):
        assert board_of(app).board.view == "panels"
        await pilot.press("v")
        assert board_of(app).board.view == "table"
        assert "LAST LINE, OR WHY" in screen_text(app)
    assert (tmp_path / "dashboard.toml").read_text() == 'view = "table"\n'


async def test_too_many_jobs_flip_to_the_table_and_never_back(source: FakeSource) -> None:
    async with running(source) as (app, _):
        assert board_of(app).board.view == "panels"
        source.put(*[job(number, f"more-{number}") for number in range(10, 20)])
        await until(lambda: board_of(app).board.view == "table", "the table")
        source.drop(*[str(number) for number in range(10, 20)])
        await until(lambda: len(board_of(app).model.shown) == 6, "the jobs to be gone")
        assert board_of(app).board.view == "table"


async def test_the_filter_counts_while_it_is_typed(source: FakeSource) -> None:
    async with running(source) as (app, pilot):
        await pilot.press("slash", "t", "r", "a")
        assert screen_text(app).splitlines()[1].startswith(" / tra▏   1 of 9")
        assert [each.id for each in board_of(app).model.shown] == ["1"]
        await pilot.press("enter", "j")
        assert "esc shows all" in screen_text(app)
        await pilot.press("a")
        assert "has no terminal" in screen_text(app).splitlines()[1]
        await pilot.press("escape")
        assert len(board_of(app).model.shown) == 6
        assert app.is_running


async def test_no_letter_acts_while_the_filter_is_typed(source: FakeSource) -> None:
    async with running(source) as (app, pilot):
        await pilot.press("slash", *"pqxsr")
        assert app.is_running
        assert not source.asked(PauseJobs)
        assert board_of(app).model.filter == "pqxsr"
        await pilot.press("escape")
        assert board_of(app).model.filter == ""


async def test_esc_clears_one_thing_at_a_time_and_never_leaves(source: FakeSource) -> None:
    async with running(source) as (app, pilot):
        await pilot.press("g", "space", "slash", "b", "enter")
        assert board_of(app).model.marks == {"1"}
        await pilot.press("escape")
        assert board_of(app).model.filter == ""
        assert board_of(app).model.marks == {"1"}
        await pilot.press("escape", "escape", "escape")
        assert board_of(app).model.marks == set()
        assert app.is_running


async def test_ctrl_c_says_how_to_leave(source: FakeSource) -> None:
    async with running(source) as (app, pilot):
        await pilot.press("ctrl+c")
        await shown(app, lambda text: "q leaves, jobs go on" in text.splitlines()[1], "the hint")
        assert app.is_running
        assert not source.asked(StopJobs)


@pytest.mark.parametrize("key", ["q", "ctrl+q"])
async def test_leaving_asks_the_daemon_for_nothing(key: str, source: FakeSource) -> None:
    async with running(source) as (app, pilot):
        await pilot.press(key)
    assert app.return_code == 0
    assert {type(each) for each in source.requests} <= {AskRecentHistory, WatchJobs}


async def test_ended_jobs_unfold_and_fold(source: FakeSource) -> None:
    async with running(source, (80, 40)) as (app, pilot):
        await pilot.press("e")
        assert "vacuum" in screen_text(app)
        assert "e folds them" in screen_text(app)
        await pilot.press("e")
        assert "9 vacuum" not in screen_text(app)


async def test_order_by_key_and_by_a_click_on_a_column(tmp_path: Path) -> None:
    jobs = [job(1, "b", cpu_percent=5.0), job(2, "a", cpu_percent=50.0)]
    source = FakeSource(jobs, home=str(tmp_path))
    async with running(source, settings=Settings(view="table")) as (app, pilot):
        await pilot.press("o")
        assert [each.id for each in board_of(app).model.shown] == ["2", "1"]
        await pilot.press("O")
        assert [each.id for each in board_of(app).model.shown] == ["1", "2"]
        heads = screen_text(app).splitlines()[2]
        await pilot.click("#board", offset=(heads.index("CPU%"), 0))
        await until(lambda: board_of(app).model.order == "cpu", "the order by CPU")
        assert [each.id for each in board_of(app).model.shown] == ["2", "1"]


async def test_a_click_selects_and_the_wheel_scrolls(tmp_path: Path) -> None:
    source = FakeSource(many_jobs(100), home=str(tmp_path))
    async with running(source) as (app, pilot):
        await pilot.click("#board", offset=(10, 5))
        await until(lambda: selected(app) == "5", "the clicked job to be selected")
        board = board_of(app).board
        board.scroll_lines(30)
        await shown(app, lambda text: "idle-0031" in text, "rows further down")
        assert selected(app) == "5"


async def test_the_scrollbar_drags(tmp_path: Path) -> None:
    source = FakeSource(many_jobs(100), home=str(tmp_path))
    async with running(source) as (app, pilot):
        await pilot.mouse_down("#board", offset=(79, 20))
        await pilot.mouse_up("#board", offset=(79, 20))
        await shown(app, lambda text: "idle-0100" in text, "the end of the list")


async def test_a_click_on_the_footer_acts(source: FakeSource) -> None:
    async with running(source) as (app, pilot):
        footer = screen_text(app).splitlines()[-1]
        await pilot.click("#footer", offset=(footer.index("v table") + 2, 0))
        await until(lambda: board_of(app).board.view == "table", "the table")


async def test_the_daemon_gone_dims_and_refuses(source: FakeSource) -> None:
    async with running(source, (160, 50)) as (app, pilot):
        source.trouble("daemon gone, retrying 3s")
        text = await shown(app, lambda text: "daemon gone" in text, "the trouble in line 1")
        assert "6.2G" in text
        await pilot.press("p")
        await shown(app, lambda text: "nothing can be done until it answers" in text, "the refusal")
        assert not source.asked(PauseJobs)
        source.trouble(None)
        await shown(app, lambda text: "daemon gone" not in text.splitlines()[0], "the trouble to be over")


async def test_the_list_in_view_is_looked_at(tmp_path: Path) -> None:
    source = FakeSource(many_jobs(100), home=str(tmp_path))
    async with running(source) as (_, pilot):
        await until(lambda: source.asked(WatchJobs), "the first look")
        assert "1" in source.asked(WatchJobs)[-1].ids
        await pilot.press("G")
        await until(lambda: "100" in source.asked(WatchJobs)[-1].ids, "the end to be looked at")
        assert "1" not in source.asked(WatchJobs)[-1].ids


async def test_what_happens_is_said(tmp_path: Path) -> None:
    source = FakeSource([job(1, "a"), job(2, "b")], home=str(tmp_path))
    async with running(source) as (app, _):
        source.put(ended_job(1, "a", took=12))
        await shown(app, lambda text: "✓ 1 a ended well after 12s" in text, "the end in line 2")
        source.put(stuck_job(2, "b", "waits for input that nobody writes"))
        await shown(app, lambda text: "▐STUCK▌ 2 b: waits for input" in text, "the stuck job in line 2")


async def test_time_goes_on_by_itself(tmp_path: Path) -> None:
    clock = Clock()
    source = FakeSource([job(1, "a", ago=58)], home=str(tmp_path))
    async with running(source, clock=clock) as (app, _):
        assert "58s" in screen_text(app)
        clock.go_on(5)
        await shown(app, lambda text: "1m03s" in text, "five seconds more")


async def test_output_appears_as_it_is_written(tmp_path: Path) -> None:
    source = FakeSource([job(1, "a")], home=str(tmp_path))
    async with running(source) as (app, _):
        source.write_output("1", "first line\nloading 10%\rloading 90%")
        await shown(app, lambda text: "first line" in text and "loading 90%" in text, "the output")
        assert "loading 10%" not in screen_text(app)


async def test_a_dialog_covers_and_the_selected_row_moves_above_it(tmp_path: Path) -> None:
    source = FakeSource(three_hundred_jobs(), home=str(tmp_path))
    async with running(source, (80, 24)) as (app, pilot):
        await pilot.press("g", "pagedown")
        chosen = board_of(app).job
        assert chosen is not None

        class Question(Widget):
            DEFAULT_CSS = "Question { height: 10; width: 100%; }"

            def render(self) -> str:
                return "Really?"

        app.show_dialog(Question())
        await shown(app, lambda text: "Really?" in text and chosen.title in text, "the row above the dialog")
        await pilot.press("p", "q")
        assert app.is_running
        assert not source.asked(PauseJobs)
        app.close_dialog()
        await shown(app, lambda text: "Really?" not in text, "the dialog to be gone")


async def test_without_asking_where_the_settings_say_so(source: FakeSource) -> None:
    async with running(source, settings=Settings(confirm="never")) as (_, pilot):
        await pilot.press("g", "s")
        await until(lambda: source.asked(StopJobs), "the request to stop")
        assert source.asked(StopJobs)[0].ids == ("1",)


async def test_help_and_palette_come_from_the_registry(source: FakeSource) -> None:
    async with running(source, (100, 60)) as (app, pilot):
        await pilot.press("question_mark")
        text = await shown(app, lambda text: "On the list" in text, "the help")
        assert "switch between panels and table" in text
        await pilot.press("escape", "colon", *"pause")
        await shown(app, lambda text: "pause  (p)" in text, "the action in the palette")
        await pilot.press("escape")
        assert app.is_running


async def test_y_copies_a_summary(source: FakeSource) -> None:
    async with running(source) as (app, pilot):
        await pilot.press("y")
        await until(lambda: "fetch-index" in app.clipboard, "the summary on the clipboard")
        assert "10.0.0.7" in app.clipboard


async def test_o_shows_where_it_is_among_the_orders(source: FakeSource) -> None:
    async with running(source) as (app, pilot):
        await pilot.press("o", "o")
        line = screen_text(app).splitlines()[1]
        assert line == " order: started name [status] cpu mem procs out time   o next O turns"
        await pilot.press("O")
        assert "[status, reversed]" in screen_text(app).splitlines()[1]
        await pilot.press(*"oooooo")
        assert "order: [started] name" in screen_text(app).splitlines()[1]


@pytest.mark.parametrize("size", [(80, 24), (160, 50)])
async def test_the_end_of_a_long_queue_lists_more_of_it(size: tuple[int, int], tmp_path: Path) -> None:
    queued = [job(n, "true", state="queued", started=None, waiting_for="limit") for n in range(7, 27)]
    source = FakeSource([*six_jobs(), *queued], home=str(tmp_path))
    source.snapshot = structs.replace(source.snapshot, queued=20_000)
    async with running(source, size) as (app, pilot):
        await until(lambda: "20,000 queued" in screen_text(app), "all that is queued to be counted")
        assert "19,980 more are queued" in screen_text(app)
        await pilot.press("g")
        assert not source.asked(Subscribe)
        await pilot.press("G")
        await until(lambda: source.asked(Subscribe), "more to be asked for")
        assert source.asked(Subscribe) == [Subscribe(queued=2 * FIRST_QUEUED)]
        await pilot.press(*"/vite", "enter", "j", "G")
        assert len(source.asked(Subscribe)) == 1, "to search is not to list more"
        await pilot.press("escape")
        source.snapshot = structs.replace(source.snapshot, queued=20)
        source.change("1", cpu_percent=1.0)
        await until(lambda: "more are queued" not in screen_text(app), "the line to go")
