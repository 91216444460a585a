"""Typing the answer for a job that reads what is sent to it."""

from __future__ import annotations

from pathlib import Path

from corral.model.errors import CorralError
from corral.protocol.requests import CloseInput
from corral_tui.dashboard.dialogs.answer import AnswerDialog
from corral_tui.dashboard.paint.text_field import LineInput
from tui.fake_jobs import ended_job, job
from tui.fake_source import FakeSource
from tui.screens import running, screen_text, shown, until


def asking(tmp_path: Path) -> FakeSource:
    folder = tmp_path / "jobs" / "2"
    folder.mkdir(parents=True)
    (folder / "stdout").write_bytes(b"3 files are newer.\nOverwrite \x1b]0;x\x07them? [y/N] ")
    return FakeSource([job(2, "ask", stdin="interactive")], home=str(tmp_path))


async def test_a_line_goes_to_its_stdin_and_the_field_is_free_for_the_next(tmp_path: Path) -> None:
    source = asking(tmp_path)
    async with running(source, (80, 24)) as (app, pilot):
        await pilot.press("a", *"yes")
        await shown(app, lambda text: "Overwrite them? [y/N]" in text and "yes" in text, "the question")
        assert source.sent == []
        await pilot.press("enter")
        await until(lambda: source.sent == [("2", b"yes\n")], "the answer to be sent")
        await shown(app, lambda text: "1 sent" in text, "that it was sent")
        assert app.screen.query_one(LineInput).value == ""
        await pilot.press("enter")
        await until(lambda: len(source.sent) == 2, "an empty line to be one, too")
        assert source.sent[1] == ("2", b"\n")
        await pilot.press("escape")
        await until(lambda: app.dialog is None, "the dialog to go")
    assert source.asked(CloseInput) == []


async def test_no_letter_is_a_verb_and_ctrl_d_says_that_no_more_comes(tmp_path: Path) -> None:
    source = asking(tmp_path)
    async with running(source, (160, 50)) as (app, pilot):
        await pilot.press("a", *"sqx")
        await until(lambda: isinstance(app.dialog, AnswerDialog), "the dialog")
        await pilot.press("ctrl+d")
        await until(lambda: source.asked(CloseInput) != [], "its stdin to be closed")
        await until(lambda: app.dialog is None, "the dialog to go")
        assert source.sent == []
        assert "no more comes" in screen_text(app)


async def test_what_is_not_taken_is_kept_and_said(tmp_path: Path) -> None:
    source = asking(tmp_path)
    source.answers["send_input"] = CorralError("job 2 reads no more")
    async with running(source, (80, 24)) as (app, pilot):
        await pilot.press("a", *"yes", "enter")
        await shown(app, lambda text: "not sent: job 2 reads no more" in text, "why not")
        assert app.screen.query_one(LineInput).value == "yes"


async def test_it_goes_with_its_job(tmp_path: Path) -> None:
    source = asking(tmp_path)
    async with running(source, (80, 24)) as (app, pilot):
        await pilot.press("a")
        await until(lambda: isinstance(app.dialog, AnswerDialog), "the dialog")
        source.put(ended_job(2, "ask"))
        await until(lambda: app.dialog is None, "the dialog to go")
