"""One job, opened: what it opens on, what each pane shows and each key does, at every size."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from corral.model.errors import NotSoError
from corral.model.job import JobEvent
from corral.model.reports import Detail, Diagnosis, PeekedPipe, Story
from corral.protocol.requests import (
    AskStory,
    AskWhy,
    ListProcesses,
    PauseJobs,
    PeekPipes,
    Pipes,
    Processes,
    ShowJob,
    WatchJobs,
)
from corral_tui.dashboard.app import DashboardApp
from corral_tui.dashboard.dialogs.signal import SignalDialog
from corral_tui.dashboard.dialogs.stop import StopDialog
from corral_tui.dashboard.job.about_pane import AboutPane
from corral_tui.dashboard.job.output.view import OutputView
from corral_tui.dashboard.job.screen import JobScreen
from corral_tui.dashboard.job.tree_pane import TreePane
from corral_tui.dashboard.prompt.prompt import PromptDialog
from corral_tui.text.charset import ASCII, UNICODE, Charset
from tui.fake_jobs import NOW, Clock, ended_job, job, pipeline_job
from tui.fake_source import FakeSource
from tui.screens import board_of, running, screen_text, shown, until
from tui.settled import assert_settled_snapshot
from tui.test_board_screens import SIZES, six
from tui.test_dialog_stop import over, tree

HOSTILE = "[/][@click=app.quit]\x1b]0;title\x07\x1b[31m"


def detailed(tmp_path: Path) -> FakeSource:
    source = six(tmp_path)
    source.change("3", last_output=NOW - timedelta(minutes=31))
    source.answers[ShowJob] = lambda request: Detail(
        job=source.snapshot.jobs[request.job],
        events=(JobEvent(NOW - timedelta(seconds=9), "started", "started 3 stages"),),
        environment={"PATH": "/usr/bin", "TOKEN": "hunter2"},
        earlier_runs=(("1", "succeeded", 1680.0), ("2", "failed", 1740.0), ("8", "succeeded", 1860.0)),
    )
    return source


async def opened(app: DashboardApp, job_id: str, pane: str | None = None) -> JobScreen:
    """The opened job, each of its visible panes asked for once."""
    app.open_job(job_id, pane)
    await until(lambda: isinstance(app.screen, JobScreen), "the screen")
    screen = app.screen
    assert isinstance(screen, JobScreen)
    await until(lambda: screen.panes, "the panes")
    await answered(screen)
    return screen


async def answered(screen: JobScreen) -> None:
    await until(lambda: all(each._due > 0 for each in screen.panes if each.display), "the daemon's answers")
    if screen.job is not None and not screen.job.is_ended and screen.query_one(TreePane).display:
        await until(lambda: screen.query_one(TreePane).processes, "the tree")


@pytest.mark.parametrize("size", SIZES)
async def test_a_pipeline_opens_on_its_drawing(size: tuple[int, int], tmp_path: Path) -> None:
    async with running(detailed(tmp_path), size) as (app, pilot):
        screen = await opened(app, "3")
        assert screen.current == 1
        if screen.shows_all:
            await until(lambda: screen.query_one(AboutPane).detail, "the detail")
            await shown(app, lambda text: "EVIDENCE" in text and "mem peak" in text, "all panes")
        await pilot.pause()
        await assert_settled_snapshot(app, f"opened_pipeline_{size[0]}x{size[1]}")


@pytest.mark.parametrize("size", [(80, 24), (40, 12)])
async def test_a_stuck_job_opens_on_why(size: tuple[int, int], tmp_path: Path) -> None:
    async with running(detailed(tmp_path), size) as (app, _):
        screen = await opened(app, "4")
        assert screen.current == 5
        await shown(app, lambda text: "EVIDENCE" in text, "the diagnosis")
        await assert_settled_snapshot(app, f"opened_why_{size[0]}x{size[1]}")


@pytest.mark.parametrize("charset", [UNICODE, ASCII])
async def test_any_other_opens_on_its_output(charset: Charset, tmp_path: Path) -> None:
    async with running(detailed(tmp_path), charset=charset) as (app, _):
        screen = await opened(app, "1")
        assert screen.current == 2
        await shown(app, lambda text: "step 3260" in text, "the last line")
        await assert_settled_snapshot(app, f"opened_output_{charset.name}_80x24")


async def test_the_pane_can_be_asked_for(tmp_path: Path) -> None:
    async with running(detailed(tmp_path)) as (app, _):
        assert (await opened(app, "1", "why")).current == 5


@pytest.mark.parametrize("number", range(1, 7))
async def test_a_digit_shows_its_pane(number: int, tmp_path: Path) -> None:
    async with running(detailed(tmp_path)) as (app, pilot):
        screen = await opened(app, "3")
        await pilot.press(str(number))
        await answered(screen)
        assert [pane.number for pane in screen.panes if pane.display] == [number]
        assert screen.current == number


async def test_z_makes_one_pane_the_whole_screen_and_back(tmp_path: Path) -> None:
    async with running(detailed(tmp_path), (160, 50)) as (app, pilot):
        screen = await opened(app, "3")
        assert len([pane for pane in screen.panes if pane.display]) == 6
        await pilot.press("3", "z")
        assert [pane.number for pane in screen.panes if pane.display] == [3]
        await pilot.press("escape")
        assert len([pane for pane in screen.panes if pane.display]) == 6
        await pilot.press("escape")
        await until(lambda: not isinstance(app.screen, JobScreen), "the board")


async def test_a_click_on_a_tab_shows_its_pane(tmp_path: Path) -> None:
    async with running(detailed(tmp_path)) as (app, pilot):
        screen = await opened(app, "3")
        await pilot.click("#opened-tabs", offset=(29, 0))
        await until(lambda: screen.current == 3, "the tree")


async def test_a_resize_goes_from_tabs_to_all_panes(tmp_path: Path) -> None:
    async with running(detailed(tmp_path)) as (app, pilot):
        screen = await opened(app, "3")
        await pilot.resize_terminal(160, 50)
        await until(lambda: screen.shows_all, "all panes")
        await pilot.resize_terminal(40, 12)
        await until(lambda: len([pane for pane in screen.panes if pane.display]) == 1, "tabs")


async def test_brackets_go_to_the_other_jobs(tmp_path: Path) -> None:
    source = detailed(tmp_path)
    async with running(source) as (app, pilot):
        screen = await opened(app, "3")
        await pilot.press("right_square_bracket")
        await shown(app, lambda text: "‹ 4 fetch-index" in text, "the next job")
        await pilot.press("left_square_bracket", "left_square_bracket")
        await shown(app, lambda text: "‹ 2 build" in text and "LD      libstore.so" in text, "the one before")
        assert screen.job_id == "2"

        def told() -> list[tuple[str, ...]]:
            return [request.ids for request in source.asked(WatchJobs)][-1:]

        await until(lambda: told() == [("2",)], "the daemon to be told")


async def test_an_exclamation_mark_goes_to_the_job_that_needs_a_human(tmp_path: Path) -> None:
    """In the order of the board, which then has the same job selected; a failed one only until it was looked at."""
    source = six(tmp_path)
    source.put(ended_job(2, "b", "failed", ended_ago=5))
    async with running(source) as (app, pilot):
        screen = await opened(app, "1")
        for wanted in ("4", "2", "4"):
            await pilot.press("exclamation_mark")
            await until(lambda wanted=wanted: screen.job_id == wanted, f"job {wanted}")
        await pilot.press("exclamation_mark")
        await shown(app, lambda text: "no other job needs you" in text, "the answer")
        assert board_of(app).model.selected_id == "4"


async def test_keys_act_on_the_opened_job(tmp_path: Path) -> None:
    source = detailed(tmp_path)
    async with running(source) as (app, pilot):
        await opened(app, "2")
        await pilot.press("s")
        await until(
            lambda: isinstance(app.dialog, StopDialog) and app.dialog.job_ids == ("2",), "the question"
        )
        await pilot.press("escape")
        await until(lambda: app.dialog is None, "the dialog to close")
        await pilot.press("c")
        await until(
            lambda: isinstance(app.dialog, PromptDialog) and app.dialog.chain_onto == "2", "the prompt"
        )
        await pilot.press("escape", "p")
        await until(lambda: source.asked(PauseJobs), "the pause")
        assert isinstance(app.screen, JobScreen)
    assert source.asked(PauseJobs) == [PauseJobs(ids=("2",))]


async def test_the_selected_process_is_the_target_of_a_signal(tmp_path: Path) -> None:
    source = detailed(tmp_path)
    source.answers[ListProcesses] = Processes(tree())
    async with running(source) as (app, pilot):
        screen = await opened(app, "6", "tree")
        await until(lambda: screen.query_one(TreePane).processes, "the tree")
        await pilot.press("j", "j", "S")
        await until(lambda: isinstance(app.dialog, SignalDialog), "the menu")
        assert isinstance(app.dialog, SignalDialog)
        assert app.dialog.pid == 48310


async def test_w_shows_why_and_y_copies_it(tmp_path: Path) -> None:
    async with running(detailed(tmp_path)) as (app, pilot):
        screen = await opened(app, "1")
        await pilot.press("w")
        await answered(screen)
        await shown(app, lambda text: "WHAT YOU CAN DO" in text, "the why")
        await pilot.press("y")
        assert app.clipboard.startswith("1 train: python train.py")
        assert "corral stop 1" in app.clipboard


async def test_the_output_is_followed_until_one_scrolls_up(tmp_path: Path) -> None:
    source = detailed(tmp_path)
    source.write_output("1", "".join(f"line {number}\n" for number in range(1000)))
    async with running(source) as (app, pilot):
        screen = await opened(app, "1")
        view = screen.query_one(OutputView)
        await shown(app, lambda text: "line 999" in text, "the end")
        await pilot.press("k")
        assert not view.is_following
        source.write_output("1", "line 1000\n")
        await until(lambda: view.line_count == 1018, "the new line")
        assert "line 1000" not in screen_text(app)
        await pilot.press("f")
        await shown(app, lambda text: "line 1000" in text, "the end again")
        await pilot.press("g")
        await shown(app, lambda text: "step 3100" in text, "the beginning")
        await pilot.press("G")
        await shown(app, lambda text: "line 1000" in text, "the end once more")


async def test_the_streams_are_switched_by_the_arrows(tmp_path: Path) -> None:
    async with running(detailed(tmp_path)) as (app, pilot):
        await opened(app, "3", "output")
        await shown(app, lambda text: "circular foreign-key" in text, "stderr among both")
        await pilot.press("right")
        await shown(app, lambda text: "nothing printed on stdout yet" in text, "stdout alone")
        await pilot.press("right")
        await shown(app, lambda text: "circular foreign-key" in text, "stderr alone")


async def test_a_running_job_that_is_silent_says_for_how_long(tmp_path: Path) -> None:
    async with running(detailed(tmp_path)) as (app, _):
        await opened(app, "3", "output")
        await shown(app, lambda text: "── nothing for 31m00s ──" in text, "the silence")


async def test_hostile_output_and_names_are_text(tmp_path: Path) -> None:
    source = FakeSource([job(1, HOSTILE, command=HOSTILE, summary=HOSTILE, cwd=HOSTILE)], home=str(tmp_path))
    source.write_output("1", f"{HOSTILE}red\x1b[0m \x9b2J \x00 [INFO] ok\n")
    source.answers[ShowJob] = Detail(
        job=source.snapshot.jobs["1"],
        events=(JobEvent(NOW, HOSTILE, HOSTILE),),
        environment={HOSTILE: HOSTILE},
    )
    async with running(source, (160, 50)) as (app, pilot):
        await opened(app, "1")
        await pilot.press("V")
        text = await shown(app, lambda text: "[INFO] ok" in text and "V hides them" in text, "all of it")
        assert "[@click=app.quit]" in text
        assert not any(letter in text for letter in "\x1b\x07\x9b\x00")


async def test_a_line_of_a_hundred_megabytes_is_cut_and_hurts_nobody(tmp_path: Path) -> None:
    source = FakeSource([job(1, "long")], home=str(tmp_path))
    source.write_output("1", b"first\n" + b"x" * 100_000_000 + b"\nlast\n")
    async with running(source) as (app, pilot):
        screen = await opened(app, "1")
        await until(lambda: screen.query_one(OutputView).line_count == 3, "the index")
        await shown(app, lambda text: "xxxx" in text and "last" in text, "the lines")
        await pilot.press("g")
        await shown(app, lambda text: "first" in text, "the beginning")


async def test_values_of_the_environment_are_shown_only_when_asked_for(tmp_path: Path) -> None:
    async with running(detailed(tmp_path)) as (app, pilot):
        await opened(app, "3", "about")
        text = await shown(app, lambda text: "2 names, V shows them" in text, "how many names there are")
        assert "TOKEN" not in text
        assert text.index(" EVENTS") < text.index("2 names")
        await pilot.press("V")
        await shown(app, lambda text: "TOKEN=hunter2" in text, "the values")
        await pilot.press("V")
        await shown(app, lambda text: "hunter2" not in text, "the values hidden again")


async def test_a_file_that_is_made_shorter_while_it_is_shown_is_shown_as_it_is(tmp_path: Path) -> None:
    source = FakeSource([job(1, "a")], home=str(tmp_path))
    async with running(source) as (app, pilot):
        output = (await opened(app, "1")).query_one(OutputView)
        for turn in range(20):
            source.write_output("1", b"".join(b"line %d of %d\n" % (number, turn) for number in range(300)))
            await until(lambda: output.line_count == 300, "all lines")
            os.truncate(source.home.stdout("1"), 0)
            screen_text(app)  # painted before anybody looked again
            output.move(-200)
            screen_text(app)
            await until(lambda: output.line_count == 0, "none")
            await pilot.press("G")
        source.write_output("1", "the end\n")
        await shown(app, lambda text: "the end" in text, "the last line")


async def test_a_tick_while_the_app_closes_finds_no_screen(tmp_path: Path) -> None:
    async with running(FakeSource([job(1, "a")], home=str(tmp_path))) as (app, _):
        pass
    assert not app.screen_stack
    app._tick()


async def test_the_strip_is_shown_in_an_opened_job_too(tmp_path: Path) -> None:
    async with running(detailed(tmp_path)) as (app, _):
        app.strip = "Try it, 2 of 5: [/]"
        await opened(app, "1")
        await shown(app, lambda text: "Try it, 2 of 5: [/]" in text, "the strip")
        app.strip = "Try it, 3 of 5"
        await shown(app, lambda text: "Try it, 3 of 5" in text, "its next text")
        app.strip = None
        await shown(app, lambda text: "Try it" not in text, "the room to be given back")


@pytest.mark.parametrize("size", [(80, 24), (160, 50)])
async def test_the_charts_show_the_whole_life_of_an_ended_job(size: tuple[int, int], tmp_path: Path) -> None:
    source = detailed(tmp_path)
    source.put(ended_job(6, "tests", "failed", took=1800, peak_memory_bytes=840 << 20, cpu_seconds=412.0))
    async with running(source, size) as (app, _):
        await opened(app, "6", "charts")
        text = await shown(app, lambda text: "peak 50%" in text, "the charts")
        assert "whole life, 30m00s" in text
        assert "mem peak 840M" in text
        assert "└13:22" in text
        if size == (160, 50):
            await shown(app, lambda text: "used     412.0 s of CPU" in text, "what it used")
        await assert_settled_snapshot(app, f"opened_charts_{size[0]}x{size[1]}")


async def test_a_life_too_short_for_a_chart_is_told_in_words(tmp_path: Path) -> None:
    source = FakeSource(
        [ended_job(1, "true", took=0.1, cpu_seconds=0.04, peak_memory_bytes=3 << 20)], home=str(tmp_path)
    )
    source.answers[AskStory] = Story(id="1")
    async with running(source) as (app, _):
        await opened(app, "1", "charts")
        words = "its life was too short for a chart: 0.04 s of CPU, 3.0M of memory at its peak"
        await shown(app, lambda text: words in text, "the words")


async def test_about_tells_what_an_ended_job_used_and_why_it_was_stuck_last(tmp_path: Path) -> None:
    source = detailed(tmp_path)
    ended = structs.replace(
        pipeline_job(6, "dump", cpu_seconds=1932.4, peak_memory_bytes=38 << 20),
        state="stopped",
        health=None,
        ended=NOW,
    )
    source.put(ended)
    source.answers[ShowJob] = Detail(
        job=ended,
        diagnosis=Diagnosis(id="6", health="stuck", since=NOW, summary="ssh waits [/] for vault"),
        diagnosed=NOW - timedelta(hours=1),
    )
    async with running(source) as (app, _):
        await opened(app, "6", "about")
        text = await shown(app, lambda text: "ssh waits [/] for vault" in text, "the sentence")
        assert " used     1932.4 s of CPU, 38M of memory at its peak" in text
        assert " pipes    74G through pipe 1, 22G through pipe 2" in text
        assert " stuck    22 Nov 13:02:11: ssh waits [/] for vault" in text


async def test_about_tells_its_life_and_the_proof_of_its_stop(tmp_path: Path) -> None:
    source = detailed(tmp_path)
    source.put(ended_job(6, "tests", "stopped"))
    source.answers[ShowJob] = Detail(job=source.snapshot.jobs["6"], stop=over())
    async with running(source, (100, 34)) as (app, _):
        await opened(app, "6", "about")
        text = await shown(app, lambda text: "ITS STOP" in text, "the proof")
        assert "9 processes: 5 by TERM, 3 by themselves, 1 by KILL." in text.replace("\n   ", " ")
        assert "48340 [/]postgres: TERM+KILL, ended by KILL after 5.1 s" in text


async def test_the_fill_of_the_pipes_is_the_newest(tmp_path: Path) -> None:
    source = detailed(tmp_path)
    peeked = PeekedPipe(number=1, from_stage=1, to_stage=2, fill_bytes=512 << 10, capacity_bytes=1 << 20)
    source.answers[PeekPipes] = Pipes((peeked,))
    async with running(source) as (app, _):
        await opened(app, "3")
        await shown(app, lambda text: "512K of 1.0M 50%" in text, "the fill")


async def test_a_job_that_ends_or_is_removed_stays_readable(tmp_path: Path) -> None:
    source = detailed(tmp_path)
    async with running(source) as (app, _):
        await opened(app, "1")
        source.change(
            "1",
            state="failed",
            health=None,
            exit_status=3,
            reason="stage 1 (python) exited with 3",
            ended=NOW,
        )
        text = await shown(app, lambda text: "stage 1 (python) exited with 3" in text, "the end")
        assert "step 3260" in text
        source.drop("1")
        await shown(app, lambda text: "job 1 was removed; this is what is known of it" in text, "the notice")
        assert "step 3260" in screen_text(app)


async def test_an_error_of_the_daemon_stands_in_its_pane(tmp_path: Path) -> None:
    source = detailed(tmp_path)
    source.answers[AskWhy] = NotSoError("job 1: nothing is known [/]")
    async with running(source) as (app, _):
        await opened(app, "1", "why")
        await shown(app, lambda text: "job 1: nothing is known [/]" in text, "the error")


async def test_nothing_is_asked_of_a_daemon_that_is_gone(tmp_path: Path) -> None:
    source, clock = detailed(tmp_path), Clock()
    async with running(source, clock=clock) as (app, _):
        screen = await opened(app, "1")
        source.trouble("daemon gone, retrying 3s")
        await shown(app, lambda text: "daemon gone, retrying 3s" in text, "the notice")
        asked = len(source.requests)
        await screen._poll()
        assert len(source.requests) == asked


async def test_a_job_that_is_not_there_says_so(tmp_path: Path) -> None:
    async with running(detailed(tmp_path)) as (app, pilot):
        app.open_job("99")
        await shown(app, lambda text: "there is no job 99" in text, "the notice")
        await pilot.press("s", "j", "1", "escape")
        await until(lambda: not isinstance(app.screen, JobScreen), "the board")


async def test_only_the_panes_that_are_seen_ask(tmp_path: Path) -> None:
    source = detailed(tmp_path)
    async with running(source) as (app, _):
        await opened(app, "1")
        kinds: set[type[Any]] = {type(each) for each in source.requests}
        assert not kinds & {ListProcesses, ShowJob, AskWhy, PeekPipes}
