"""Output whose head was dropped: no screen shows the hole, and each says that something is no more."""

from __future__ import annotations

from pathlib import Path

from corral_tui.dashboard.job.output.rows import OutputRows
from corral_tui.dashboard.job.output.view import OutputView
from corral_tui.dashboard.paint.output_tails import Tails
from holes import drop
from tui.fake_jobs import job
from tui.fake_source import FakeSource
from tui.screens import running, screen_text, shown, until
from tui.test_board_tails import lines_of
from tui.test_opened_screen import opened

PAGE = 4096
LINES = [b"line %010d" % number for number in range(PAGE)]
TEXT = b"\n".join(LINES) + b"\n"
"""Sixteen bytes a line."""


def all_lines(rows: OutputRows) -> list[bytes]:
    return [line for line, _ in rows.rows(0, rows.row_count)]


def test_merged_rows_lose_their_head_and_nothing_else_while_they_are_shown(tmp_path: Path) -> None:
    stdout, stderr = tmp_path / "stdout", tmp_path / "stderr.1"
    stdout.write_bytes(TEXT)
    stderr.write_bytes(b"warning\n")
    rows = OutputRows([str(stdout), str(stderr)], "both", 0.0)
    rows.update(0.0)
    assert all_lines(rows) == [b"warning", *LINES]
    drop(stdout, 2 * PAGE)
    assert b"\0" not in b"".join(all_lines(rows))  # painted before anybody looked again
    with stdout.open("ab") as file:
        file.write(b"more\n")
    rows.update(1.0)
    assert all_lines(rows) == [b"warning", *LINES[2 * PAGE // 16 :], b"more"]
    rows.show("stdout")
    rows.update(2.0)
    assert all_lines(rows) == [*LINES[2 * PAGE // 16 :], b"more"]
    drop(stdout, len(TEXT))
    rows.update(3.0)
    assert all_lines(rows) == [b"more"]
    rows.close()


def test_the_last_lines_begin_after_the_hole(tmp_path: Path) -> None:
    source = FakeSource([job(1, "flood")], home=str(tmp_path))
    tails = Tails(source.home)
    source.write_output("1", TEXT)
    drop(Path(source.home.stdout("1")), len(TEXT) - 32)
    assert lines_of(source, tails) == [LINES[-1].decode()]
    source.write_output("1", TEXT)
    drop(Path(source.home.stdout("1")), 2 * len(TEXT) - 16)
    assert lines_of(source, tails)[-1] == LINES[-1].decode()
    assert not any("\0" in line for line in lines_of(source, tails))


async def test_the_pane_and_the_preview_say_what_is_no_more(tmp_path: Path) -> None:
    source = FakeSource([job(1, "flood")], home=str(tmp_path))
    source.write_output("1", TEXT)
    drop(Path(source.home.stdout("1")), 15 * PAGE)
    source.change("1", stdout_dropped_bytes=15 * PAGE)
    async with running(source, size=(160, 50)) as (app, pilot):
        await shown(app, lambda text: "1 process · first 60K of output dropped" in text, "the panel's foot")
        await pilot.press("v")
        await shown(app, lambda text: "4.0K kept, 60K dropped" in text, "the preview's numbers")
        output = (await opened(app, "1", "output")).query_one(OutputView)
        await until(lambda: output.line_count == PAGE // 16, "what is kept")
        await pilot.press("g")
        text = await shown(app, lambda text: "line 0000003840" in text, "its first line")
        assert "the first 60K dropped" in text
        assert "␀" not in screen_text(app)


def test_rows_begin_anew_when_a_file_was_emptied_and_is_longer_by_now(tmp_path: Path) -> None:
    stdout, stderr = tmp_path / "stdout", tmp_path / "stderr.1"
    stdout.write_bytes(b"one\ntwo\n")
    stderr.write_bytes(b"warning\n")
    rows = OutputRows([str(stdout), str(stderr)], "both", 0.0)
    rows.update(0.0)
    stdout.write_bytes(b"three\nfour\nfive\n")
    rows.update(1.0)
    assert sorted(all_lines(rows)) == [b"five", b"four", b"three", b"warning"]
    stdout.write_bytes(b"")
    rows.update(2.0)
    assert all_lines(rows) == [b"warning"]
    rows.close()


def test_the_last_lines_go_on_after_a_file_was_emptied(tmp_path: Path) -> None:
    source = FakeSource([job(1, "empties")], home=str(tmp_path))
    tails = Tails(source.home)
    stdout = Path(source.home.stdout("1"))
    source.write_output("1", b"one\nunfinished")
    assert lines_of(source, tails) == ["one", "unfinished"]
    stdout.write_bytes(b"new\nlonger than before\n")
    source.change("1", stdout_bytes=stdout.stat().st_size, stdout_truncated_bytes=14)
    assert lines_of(source, tails) == ["one", "new", "longer than before"]
    # To the very size that it had.
    stdout.write_bytes(b"old\nas long as before.\n")
    source.change("1", stdout_truncated_bytes=37)
    assert lines_of(source, tails)[-2:] == ["old", "as long as before."]


async def test_the_screen_says_what_a_program_took_away_of_its_own_output(tmp_path: Path) -> None:
    source = FakeSource([job(1, "empties")], home=str(tmp_path))
    source.write_output("1", TEXT)
    source.change("1", stdout_truncated_bytes=5000)
    async with running(source, size=(160, 50)) as (app, pilot):
        await shown(app, lambda text: "at least 4.9K of output emptied by itself" in text, "the panel's foot")
        await pilot.press("v")
        await shown(app, lambda text: "64K kept, 4.9K+ emptied" in text, "the preview's numbers")
        await opened(app, "1", "output")
        await shown(app, lambda text: "64K   4.9K+ emptied" in text, "the pane's title")
