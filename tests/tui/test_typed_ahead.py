"""What is typed before a field, a dialog or a screen is there goes into it, and nowhere else; and what is pasted."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from textual import events
from textual.keys import _character_to_key
from textual.widgets import Input

from corral.model.errors import CannotStartError
from corral.protocol.requests import PauseJobs, Started, StartJobs, StopJobs
from corral_tui.dashboard.app import DashboardApp
from corral_tui.dashboard.dialogs import base
from corral_tui.dashboard.dialogs.stop import StopDialog
from corral_tui.dashboard.frame import keyboard
from corral_tui.dashboard.frame.footer import Footer
from corral_tui.dashboard.help import HelpScreen
from corral_tui.dashboard.job.output.view import OutputView
from corral_tui.dashboard.job.screen import JobScreen
from corral_tui.dashboard.paint.text_field import MOST_PASTED, pasted_lines
from corral_tui.dashboard.prompt.prompt import PromptDialog
from tui.fake_jobs import job, six_jobs
from tui.fake_source import FakeSource
from tui.screens import board_of, running, screen_text, shown, until

NAMED = {"⏎": "enter", "␛": "escape", "↑": "up", "⌫": "backspace"}


def type_ahead(app: DashboardApp, keys: str) -> None:
    """All of it in one go, as a fast typist does on a slow machine, or a slow line hands it on."""
    for letter in keys:
        name = NAMED.get(letter) or _character_to_key(letter)
        app.post_message(events.Key(name, letter if letter not in NAMED else None))


@pytest.fixture
def source(tmp_path: Path) -> FakeSource:
    return FakeSource(six_jobs(), home=str(tmp_path))


def line_of(app: DashboardApp) -> str | None:
    dialog = app.dialog
    return dialog.line.value if isinstance(dialog, PromptDialog) and dialog.is_mounted else None


async def test_letters_typed_right_after_n_stand_in_the_prompt(source: FakeSource) -> None:
    async with running(source) as (app, _):
        type_ahead(app, "nsleep 60s")
        await until(lambda: line_of(app) == "sleep 60s", "the line")
        assert not source.asked(PauseJobs)


async def test_two_commands_typed_ahead_both_run(source: FakeSource) -> None:
    async with running(source) as (app, _):
        type_ahead(app, "ntrue one⏎ntrue two⏎")
        await until(lambda: len(source.asked(StartJobs)) == 2, "both")
        await until(lambda: app.dialog is None, "the prompt to be gone")
    assert [each.specs[0].command for each in source.asked(StartJobs)] == ["true one", "true two"]


async def test_what_was_typed_behind_a_command_that_does_not_start_is_dropped(source: FakeSource) -> None:
    source.answers[StartJobs] = CannotStartError("stage 1: not today", 127, "10")
    async with running(source) as (app, _):
        type_ahead(app, "ntrue one⏎ntrue two⏎")
        await shown(app, lambda text: "not today" in text, "the refusal")
        await until(lambda: app.keyboard.is_idle, "the rest to be dropped")
        assert line_of(app) == "true one"
    assert len(source.asked(StartJobs)) == 1


@pytest.mark.parametrize("slash", ["/", "⏎/", "⏎1/"])
async def test_a_word_with_s_and_y_right_after_a_slash_is_a_filter(slash: str, source: FakeSource) -> None:
    async with running(source) as (app, _):
        type_ahead(app, f"{slash}system yes q")

        def word() -> str | None:
            views = list(app.screen.query(OutputView))
            return views[0].filter if views else board_of(app).top.typed

        await until(lambda: word() == "system yes q", "all letters to be in the field")
        assert app.is_running
        assert app.dialog is None
    assert not source.asked(StopJobs)


async def test_a_word_behind_the_palette_and_the_help_is_no_command(source: FakeSource) -> None:
    async with running(source) as (app, _):
        type_ahead(app, ":spy")
        await until(lambda: getattr(app.focused, "value", "") == "spy", "the letters in the palette")
        type_ahead(app, "␛?s")
        await until(lambda: isinstance(app.screen, HelpScreen), "the help")
        await until(lambda: app.keyboard.is_idle, "all keys to be given")
        assert app.dialog is None


async def test_esc_and_the_next_command_are_told_apart(source: FakeSource) -> None:
    async with running(source) as (app, _):
        type_ahead(app, "nhalf␛gp")
        await until(lambda: source.asked(PauseJobs), "the pause")
        assert app.dialog is None
        type_ahead(app, "n")
        await until(lambda: line_of(app) == "half", "the line kept")


async def test_a_y_right_behind_the_s_is_a_letter_and_no_answer(
    source: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        base, "SOONEST_ANSWER", 0.0
    )  # as when the machine is so slow that the dialog takes longer
    async with running(source) as (app, pilot):
        for answer in "y0":
            type_ahead(app, f"s{answer}")
            await shown(app, lambda text: "too soon to be an answer" in text, "why not")
            assert isinstance(app.dialog, StopDialog)
            await pilot.press("escape")
        assert not source.asked(StopJobs)
        type_ahead(app, "s")
        await until(lambda: isinstance(app.dialog, StopDialog) and app.dialog.asked_at, "the question")
        monkeypatch.setattr(base, "SOONEST_ANSWER", 60.0)
        await pilot.press("y")
        await shown(app, lambda text: "too soon to be an answer" in text, "why not yet")
        assert isinstance(app.dialog, StopDialog)
        app.dialog.asked_at -= 60.0
        await pilot.press("y")
        await until(lambda: source.asked(StopJobs), "the stop")


async def test_keys_for_what_never_comes_are_dropped_and_that_is_said(
    source: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = asyncio.Event()
    async with running(source) as (app, pilot):
        call = source.call

        async def slow(request: object, descriptors: object = ()) -> object:
            if isinstance(request, StartJobs):
                await answered.wait()
                return Started(("10",))
            return await call(request)

        source.call = slow  # type: ignore[method-assign, assignment]
        type_ahead(app, "ntrue")
        await until(lambda: line_of(app) == "true", "the line")
        monkeypatch.setattr(keyboard, "HOLD_SECONDS", 0.2)
        type_ahead(app, "⏎pqs")
        await shown(app, lambda text: "ignored 3 keys that were typed ahead" in text, "that they are dropped")
        assert line_of(app) == "true"
        answered.set()
        await until(lambda: app.dialog is None, "the start")
        await pilot.press("j")
        assert app.is_running


async def test_keys_behind_a_widget_that_is_gone_are_given_all_the_same(source: FakeSource) -> None:
    async with running(source) as (app, _):
        app.keyboard._target = Footer(app.action_act)  # it was removed, with the key in its queue
        type_ahead(app, "nls")
        await until(lambda: line_of(app) == "ls", "the line")


async def test_esc_leaves_a_prompt_whose_job_takes_its_time_to_start(source: FakeSource) -> None:
    async with running(source) as (app, _):
        call = source.call
        source.call = lambda request, *rest: _never() if isinstance(request, StartJobs) else call(request)  # type: ignore
        type_ahead(app, "ntrue⏎")
        await until(lambda: isinstance(app.dialog, PromptDialog) and app.dialog.is_starting, "the start")
        type_ahead(app, "pq␛")
        await until(lambda: app.dialog is None, "the prompt to be left")
        assert app.is_running


async def _never() -> object:
    return await asyncio.Event().wait()


# ---- what was there before ----


async def test_the_line_kept_is_replaced_by_what_is_typed_and_comes_back_with_up(source: FakeSource) -> None:
    async with running(source) as (app, pilot):
        type_ahead(app, "nhalf of it␛n")
        await shown(app, lambda text: "from last time" in text, "the line, and that it is kept")
        assert line_of(app) == "half of it"
        await pilot.press(*"new")
        await until(lambda: line_of(app) == "new", "what was typed to stand in its place")
        await shown(app, lambda text: "from last time" not in text, "the hint to go")
        await pilot.press("up")
        assert line_of(app) == "half of it"
        await pilot.press("down")
        assert line_of(app) == "new"
        type_ahead(app, "␛n")
        await until(lambda: line_of(app) == "new", "the newer one")
        await pilot.press("end", *"er")
        assert line_of(app) == "newer"


async def test_a_slash_on_a_filtered_list_begins_anew_and_the_selected_job_stays(source: FakeSource) -> None:
    async with running(source) as (app, pilot):
        await pilot.press("g", "j", "j")
        assert board_of(app).model.selected_id == "3"
        await pilot.press("slash", *"tra", "enter")
        assert board_of(app).model.selected_id == "1"
        await pilot.press("slash")
        assert " / tra▏   1 of 9" in screen_text(app)
        await pilot.press("b")
        assert board_of(app).model.filter == "b"
        await pilot.press("backspace", "escape")
        assert board_of(app).model.filter == ""
        assert board_of(app).model.selected_id == "3"


async def test_a_job_chosen_while_filtered_stays_selected(source: FakeSource) -> None:
    async with running(source) as (app, pilot):
        await pilot.press("g", "slash", "w", "enter")
        await pilot.press("G")
        chosen = board_of(app).model.selected_id
        assert chosen not in (None, "1")
        await pilot.press("slash", "right", "e", "backspace", "escape")
        assert board_of(app).model.selected_id == chosen


async def test_no_job_that_matches_gives_the_selection_back(source: FakeSource) -> None:
    async with running(source) as (app, pilot):
        await pilot.press("g", "j", "slash", *"zzz", "escape")
        assert board_of(app).model.selected_id == "2"


# ---- pasted ----


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("make -j8\n", ["make -j8"]),
        ("a b", ["a b"]),
        (" a\tb ", [" a b "]),
        ("docker run \\\n  --rm x\n", ["docker run   --rm x"]),
        ("zcat a |\n  sort\n", ["zcat a | sort"]),
        ("zcat a\n  | sort\r\n  | uniq\n", ["zcat a | sort | uniq"]),
        ("one\n\ntwo\rthree\n", ["one", "two", "three"]),
        ("\x1b[31mred\u202e\n", ["[31mred"]),
        ("", []),
    ],
)
def test_the_command_lines_of_a_text(text: str, lines: list[str]) -> None:
    assert pasted_lines(text) == lines


async def test_of_several_lines_none_runs_unseen_and_none_is_lost(source: FakeSource) -> None:
    async with running(source) as (app, pilot):
        type_ahead(app, "n")
        app.post_message(events.Paste("cd /tmp\nmake\nmake install\n"))
        await shown(
            app, lambda text: "3 lines were pasted, and this is one line; ↑ brings" in text, "the reason"
        )
        assert line_of(app) == ""
        for expected in ("cd /tmp", "make", "make install"):
            await pilot.press("up")
            assert line_of(app) == expected
        app.post_message(events.Paste("x" * (MOST_PASTED + 1)))
        await shown(app, lambda text: "too many for one line" in text, "the other reason")
    assert not source.asked(StartJobs)


async def test_a_pasted_line_takes_the_place_of_what_is_selected_and_does_not_run(source: FakeSource) -> None:
    async with running(source) as (app, _):
        type_ahead(app, "nhalf␛n")
        app.post_message(events.Paste("make -j8 \\\n all\n"))
        await until(lambda: line_of(app) == "make -j8  all", "the line")
    assert not source.asked(StartJobs)


async def test_several_lines_are_no_name_and_no_filter(source: FakeSource) -> None:
    async with running(source) as (app, pilot):
        type_ahead(app, "/")
        app.post_message(events.Paste("a\nb"))
        await shown(app, lambda text: "2 lines were pasted" in text, "the reason")
        assert board_of(app).top.typed is None or board_of(app).model.filter == ""
        app.post_message(events.Paste("train\n"))
        await until(lambda: board_of(app).model.filter == "train", "one line")
        type_ahead(app, "␛n")
        await until(lambda: line_of(app) == "", "the prompt")
        assert isinstance(app.dialog, PromptDialog)
        app.dialog.query_one("#name").focus()
        await pilot.pause()
        app.post_message(events.Paste("a\nb"))
        await shown(app, lambda text: "2 lines were pasted, and this is one line\n" in text, "the reason")


async def test_what_is_pasted_where_no_field_is_acts_in_no_way(source: FakeSource) -> None:
    async with running(source) as (app, _):
        app.post_message(events.Paste("sy\n"))
        await shown(app, lambda text: "nothing here takes pasted text" in text, "that")
        app.open_job("1")
        await until(lambda: isinstance(app.screen, JobScreen) and app.takes_keys, "the job")
        app.post_message(events.Paste("sy\n"))
        await shown(app, lambda text: "nothing here takes pasted text" in text, "that too")
    assert not source.asked(StopJobs)


async def test_a_job_that_is_not_there_takes_keys_all_the_same(tmp_path: Path) -> None:
    async with running(FakeSource([job(1, "a")], home=str(tmp_path))) as (app, pilot):
        app.open_job("99")
        await shown(app, lambda text: "there is no job 99" in text, "the notice")
        await pilot.press("escape")
        await until(lambda: not isinstance(app.screen, JobScreen), "the board")


@pytest.mark.parametrize("size", [(80, 2), (80, 4), (6, 24), (6, 4)])
async def test_no_key_of_the_palette_ends_the_program_however_small_the_window(
    source: FakeSource, size: tuple[int, int]
) -> None:
    async with running(source, size) as (app, pilot):
        await pilot.press("colon", "down", "pagedown", "pageup", "end", "t", "pagedown", "down", "up")
        assert app.is_running


async def test_enter_twice_in_the_palette_does_it_once(source: FakeSource) -> None:
    async with running(source) as (app, pilot):
        await pilot.press("colon", *"open 1")
        await shown(app, lambda text: "open 1 " in text, "the job in the palette")
        palette = app.screen
        await pilot.press("down")
        for _ in range(2):
            palette.post_message(Input.Submitted(palette.query_one(Input), "open 1"))
        await until(lambda: app.screen is not palette, "the palette to close")
        await pilot.pause()
        assert app.is_running
        assert len(app.screen_stack) == 2
