"""The pane Output: moving in it, only some of its lines, lines longer than a row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rich.style import Style

from corral.protocol.requests import StopJobs
from corral_tui.dashboard.app import DashboardApp
from corral_tui.dashboard.job.output import line_filter
from corral_tui.dashboard.job.output.layout import Top, with_hits, wrapped_line
from corral_tui.dashboard.job.output.line_filter import FilteredRows, pattern_of
from corral_tui.dashboard.job.output.rows import OutputRows
from corral_tui.dashboard.job.output.view import OutputView
from corral_tui.dashboard.job.screen import JobScreen
from corral_tui.dashboard.job.tree_pane import TreePane
from corral_tui.dashboard.paint.ansi import output_line
from corral_tui.text.numbers import cells
from holes import drop
from tui.fake_jobs import job
from tui.fake_source import FakeSource
from tui.screens import running, screen_text, shown, until
from tui.settled import assert_settled_snapshot
from tui.test_opened_screen import detailed, opened

LOG = "".join(f"line {number} {'denied' if number % 10 == 3 else 'passed'}\n" for number in range(200))


def printing(tmp_path: Path, text: str | bytes = LOG, stderr: str = "") -> FakeSource:
    source = FakeSource([job(1, "log"), job(2, "other")], home=str(tmp_path))
    source.write_output("1", text)
    if stderr:
        source.write_output("1", stderr, 1)
    return source


def rows_of(app: DashboardApp) -> list[str]:
    """What stands in the pane, row by row."""
    view = app.screen.query_one(OutputView)
    return [strip.text.rstrip() for strip in view.render_lines(view.scrollable_content_region.reset_offset)]


async def output_of(app: DashboardApp) -> OutputView:
    return (await opened(app, "1", "output")).query_one(OutputView)


# ---- following ----


@pytest.mark.parametrize("key", ["k", "up", "pageup", "home", "g", "ctrl+u"])
async def test_each_way_up_lets_go_of_the_end_and_the_way_down_takes_hold_again(
    key: str, tmp_path: Path
) -> None:
    source = printing(tmp_path)
    async with running(source) as (app, pilot):
        view = await output_of(app)
        await shown(app, lambda text: "line 199" in text, "the end")
        await pilot.press(key)
        assert not view.is_following
        before = rows_of(app)
        source.write_output("1", "line 200 new\n")
        await until(lambda: view.line_count == 201, "the new line")
        assert rows_of(app) == before
        await pilot.press("end")
        assert view.is_following
        assert rows_of(app)[-1] == " line 200 new"


async def test_the_wheel_and_the_scrollbar_let_go_and_take_hold_too(tmp_path: Path) -> None:
    source = printing(tmp_path)
    async with running(source) as (app, pilot):
        view = await output_of(app)
        await shown(app, lambda text: "line 199" in text, "the end")
        await pilot._post_mouse_events([_wheel_up()], view, button=0)
        await until(lambda: not view.is_following, "the end to be let go")
        assert rows_of(app)[-1] == " line 196 passed"
        view.move(3)
        assert view.is_following
        await pilot.mouse_down(view.vertical_scrollbar, offset=(0, 0))
        await pilot.mouse_up(view.vertical_scrollbar, offset=(0, 0))
        await until(lambda: not view.is_following, "the end to be let go once more")


def _wheel_up() -> type:
    from textual.events import MouseScrollUp

    return MouseScrollUp


async def test_the_arrows_select_in_a_tree_that_is_higher_than_its_pane(tmp_path: Path) -> None:
    async with running(detailed(tmp_path), (80, 8)) as (app, pilot):
        screen = await opened(app, "3", "tree")
        tree = screen.query_one(TreePane)
        await until(lambda: tree.processes, "the tree")
        await pilot.press("down", "down")
        assert tree.selected_pid == tree.processes[1].pid


# ---- only some lines ----


async def test_letters_typed_behind_a_slash_are_never_verbs(tmp_path: Path) -> None:
    source = printing(tmp_path)
    async with running(source) as (app, pilot):
        await output_of(app)
        await pilot.press("slash", *"sysqxpr")
        assert app.is_running
        assert app.dialog is None
        assert app.screen.query_one(OutputView).filter == "sysqxpr"
        await pilot.press("escape")
        assert isinstance(app.screen, JobScreen)
        assert app.screen.query_one(OutputView).filter == ""
    assert not source.asked(StopJobs)


@pytest.mark.parametrize("size", [(80, 24), (160, 50)])
async def test_only_matching_lines_are_shown_also_of_what_comes(
    size: tuple[int, int], tmp_path: Path
) -> None:
    source = printing(tmp_path)
    async with running(source, size) as (app, pilot):
        view = await output_of(app)
        await pilot.press("slash", *"DENIE")
        await shown(app, lambda text: "no line contains this text" in text, "nothing: upper case is meant")
        await pilot.press(*["backspace"] * 5, *"denie")
        await shown(app, lambda text: "20 of 200 lines" in text, "the count")
        assert [row for row in rows_of(app) if row][-1] == " line 193 denied"
        assert "passed" not in "".join(rows_of(app))
        await assert_settled_snapshot(app, f"opened_filter_{size[0]}x{size[1]}")
        await pilot.press("enter")
        assert view.has_focus
        source.write_output("1", "all passed\nonce more DENIED\nagain denied")
        await shown(app, lambda text: "22 of 203 lines" in text, "what came")
        assert [row for row in rows_of(app) if row][-2:] == [" once more DENIED", " again denied"]
        await pilot.press("escape")
        await shown(app, lambda text: "line 198 passed" in text and "lines   esc" not in text, "all lines")
        assert isinstance(app.screen, JobScreen)


async def test_a_slash_begins_anew_and_each_pane_has_it(tmp_path: Path) -> None:
    async with running(printing(tmp_path), (160, 50)) as (app, pilot):
        view = await output_of(app)
        await pilot.press("slash", *"denied", "enter", "3", "slash", *"line 7")
        assert view.filter == "line 7"
        await pilot.press("enter", "right_square_bracket", "left_square_bracket")
        assert view.filter == ""


async def test_the_place_is_kept_through_a_filter(tmp_path: Path) -> None:
    async with running(printing(tmp_path)) as (app, pilot):
        await output_of(app)
        await shown(app, lambda text: "line 199" in text, "the end")
        await pilot.press("g", *["pagedown"] * 4)
        first = int(rows_of(app)[0].split()[1])
        await pilot.press("slash", *"denied", "enter")
        assert rows_of(app)[0].split()[1] == str(min(first + (3 - first) % 10, 23))
        await pilot.press("g", "j", "escape")
        assert rows_of(app)[0] == " line 13 denied"


async def test_the_lines_of_all_streams_are_looked_through(tmp_path: Path) -> None:
    async with running(printing(tmp_path, stderr="denied by stderr\nfine\n")) as (app, pilot):
        await output_of(app)
        await pilot.press("slash", *"denied", "enter")
        await shown(app, lambda text: "21 of 202 lines" in text, "both")
        await pilot.press("left")
        await shown(app, lambda text: "1 of 2 lines" in text, "stderr")


async def test_a_paste_of_several_lines_is_no_filter(tmp_path: Path) -> None:
    from textual.events import Paste

    async with running(printing(tmp_path)) as (app, pilot):
        await output_of(app)
        await pilot.press("slash")
        app.post_message(Paste("one\ntwo\n"))
        await shown(app, lambda text: "2 lines were pasted, and this is one line" in text, "the reason")
        app.post_message(Paste("line 7\n"))
        await until(lambda: app.screen.query_one(OutputView).filter == "line 7", "one line to be taken")


async def test_a_resize_leaves_the_keys_in_the_field(tmp_path: Path) -> None:
    async with running(printing(tmp_path)) as (app, pilot):
        await output_of(app)
        await pilot.press("slash", *"pas")
        await pilot.resize_terminal(160, 50)
        await until(lambda: app.screen.query_one(OutputView).size.width > 80, "the size")
        await pilot.press(*"sed")
        assert app.screen.query_one(OutputView).filter == "passed"


def found_in(path: Path, words: str) -> tuple[OutputRows, FilteredRows]:
    rows = OutputRows([str(path)], "both", 0.0)
    filtered = FilteredRows(rows, words)
    look(rows, filtered)
    return rows, filtered


def look(rows: OutputRows, filtered: FilteredRows) -> None:
    is_first = True
    while is_first or not filtered.is_complete:
        filtered.update(has_grown=rows.update(1.0) is not None)
        is_first = False


def lines(filtered: FilteredRows) -> list[bytes]:
    return [line for line, _ in filtered.rows(0, filtered.row_count)]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("straße", "Die STRASSE, die Straße"),
        ("red and", "\x1b[31mred\x1b[0m and\x1b[1m bold"),
        ("漢字", "colours \x1b]0;title\x07 of 漢字"),
        ("Case", "a Case"),
        ("[/]", "markup [/] is text"),
        ("end", "x" * 300_000 + "end"),
    ],
)
def test_what_is_seen_is_looked_at(
    words: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_filter, "_CHUNK", 7)
    path = tmp_path / "stdout"
    path.write_text(f"first\ncase of 31\n{line if len(line) < 1000 else line[-5000:]}\nlast\n")
    rows, filtered = found_in(path, words)
    assert [filtered.plain_row(each) for each in range(filtered.row_count)] == [2]
    rows.close()


def test_a_file_that_is_emptied_or_loses_its_head_is_looked_through_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "stdout"
    path.write_bytes(b"".join(b"line %010d\n" % number for number in range(4096)))
    rows, filtered = found_in(path, "99")
    expected = [b"line %010d" % number for number in range(4096) if b"99" in b"%d" % number]
    assert lines(filtered) == expected
    drop(path, 8192)
    look(rows, filtered)
    assert lines(filtered) == [line for line in expected if int(line.split()[1]) >= 512]
    path.write_bytes(b"new 99\nnew\n")
    look(rows, filtered)
    assert lines(filtered) == [b"new 99"]
    with path.open("ab") as file:
        file.write(b"half a 9")
    look(rows, filtered)
    with path.open("ab") as file:
        file.write(b"9\n")
    look(rows, filtered)
    assert lines(filtered) == [b"new 99", b"half a 99"]
    rows.close()


def test_of_more_lines_than_are_kept_the_newest_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_filter, "MOST_FOUND", 100)
    path = tmp_path / "stdout"
    path.write_text("".join(f"hit {number}\n" for number in range(1000)))
    rows, filtered = found_in(path, "hit")
    assert filtered.found == 1000
    assert 50 <= filtered.row_count <= 100
    assert lines(filtered)[-1] == b"hit 999"
    rows.close()


async def test_a_big_file_is_looked_through_in_slices_that_hold_up_no_key(tmp_path: Path) -> None:
    block = b"".join(b"2026-11-29 request %07d served in 12 ms\n" % number for number in range(20_000))
    source = printing(tmp_path, block * 120 + b"the needle\n" + block * 4)
    longest = 0.0
    async with running(source) as (app, pilot):
        view = await output_of(app)
        await until(lambda: view.line_count == 124 * 20_000 + 1, "the index")
        look, loop = view.look, app._loop
        assert loop is not None

        def timed() -> None:
            nonlocal longest
            before = loop.time()
            look()
            longest = max(longest, loop.time() - before)

        view.look = timed  # type: ignore[method-assign]
        await pilot.press("slash", *"needle")
        await shown(
            app, lambda text: "looked at" in text or "1 of 2480001 lines" in text, "how far it looked"
        )
        await shown(app, lambda text: "1 of 2480001 lines" in text, "the needle")
        assert " the needle" in rows_of(app)
    assert longest < 1.0


# ---- longer than a row ----


async def test_a_long_line_goes_on_in_the_next_rows_and_w_cuts_it(tmp_path: Path) -> None:
    text = "first\n" + "0123456789" * 30 + "\nlast\n"
    async with running(printing(tmp_path, text)) as (app, pilot):
        await output_of(app)
        await shown(app, lambda text: "last" in text, "the end")
        rows = [row for row in rows_of(app) if row]
        assert rows[0] == " first"
        assert rows[1].startswith(" 0123")
        assert all(row.startswith("┊") for row in rows[2:-1])
        assert "".join(row[1:] for row in rows[1:-1]) == "0123456789" * 30
        assert rows[-1] == " last"
        await pilot.press("W")
        rows = [row for row in rows_of(app) if row]
        assert len(rows) == 3
        assert rows[1].endswith("…")
        assert "W wraps" in screen_text(app)


async def test_rows_are_scrolled_and_followed_not_lines(tmp_path: Path) -> None:
    source = printing(tmp_path, "".join(f"{number:03d}" + "x" * 400 + "\n" for number in range(12)))
    async with running(source) as (app, pilot):
        view = await output_of(app)
        await until(lambda: view.line_count == 12, "the lines")
        assert rows_of(app)[-1].startswith("┊")
        await pilot.press("g")
        assert rows_of(app)[0].startswith(" 000x")
        await pilot.press("j")
        assert rows_of(app)[0].startswith("┊")
        assert not view.is_following
        for _ in range(100):
            if view.is_following:
                break
            await pilot.press("j")
        assert view.is_following
        await pilot.resize_terminal(60, 20)
        await until(lambda: view.width < 60, "the size")
        assert rows_of(app)[-1].startswith("┊")
        source.write_output("1", "the end\n")
        await shown(app, lambda text: "the end" in text, "what came")


async def test_a_line_of_megabytes_can_be_scrolled_through_and_left(tmp_path: Path) -> None:
    async with running(printing(tmp_path, b"first\n" + b"y" * 50_000_000 + b"\nlast\n")) as (app, pilot):
        view = await output_of(app)
        await until(lambda: view.line_count == 3, "the index")
        await pilot.press("g", *["pagedown"] * 3)
        assert set(rows_of(app)[0][1:]) == {"y"}
        await pilot.press("end")
        assert [row for row in rows_of(app) if row][-1] == " last"


@pytest.mark.parametrize(
    "text",
    ["plain " * 50, "漢字かな" * 40, "é\u0301漢" * 50, "a\u0301" * 200, "👩‍👩‍👧x" * 40, "x漢" * 60, ""],
)
@pytest.mark.parametrize("width", [1, 2, 7, 40])
def test_no_row_is_wider_than_the_pane_and_nothing_is_lost(text: str, width: int) -> None:
    rows = wrapped_line(((text, Style()),) if text else (), width)
    assert "".join(piece for row in rows for piece, _ in row) == text
    if width > 1:
        assert all(cells("".join(piece for piece, _ in row)) <= width for row in rows)
    assert not any(row and row[0][0].startswith("\u0301") for row in rows)
    assert all(row for row in rows[:-1])


def test_colours_go_on_over_rows_and_tabs_stand_every_eight_columns() -> None:
    line = output_line("\x1b[31mred\tx\x1b[0m\t漢\ty".encode())
    text = "".join(piece for piece, _ in line)
    assert text == "red     x       漢      y"
    rows = wrapped_line(output_line(b"\x1b[31m" + b"r" * 30 + b"\x1b[0mplain"), 10)
    assert [[style.color is not None for _, style in row] for row in rows] == [[True]] * 3 + [[False]]


def test_hits_are_marked_across_colours() -> None:
    line = output_line(b"a de\x1b[31mni\x1b[0med b denied")
    marked = with_hits(line, pattern_of("denied"))
    assert "".join(text for text, style in marked if style.reverse) == "denieddenied"
    assert "".join(text for text, _ in marked) == "a denied b denied"
    assert with_hits(line, re.compile("nothing")) is line


def test_a_place_is_a_line_and_a_row() -> None:
    assert Top(3, 1) > Top(3) > Top(2, 9)
