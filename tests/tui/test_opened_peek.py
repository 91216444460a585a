"""Looking into a pipe of an opened job: by key and by mouse, as text and as hex, at every size."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from corral.model.reports import PeekedPipe
from corral.protocol.requests import PeekPipes, Pipes
from corral_tui.dashboard.job.peek_text import Peek, peek_head, peek_lines
from corral_tui.dashboard.job.pipeline_pane import FIRST_BYTES, MOST_BYTES, PipelinePane
from corral_tui.dashboard.paint import lines
from corral_tui.text.charset import ASCII, UNICODE
from tui.fake_jobs import pipeline_job
from tui.fake_source import FakeSource, peeked
from tui.screens import running, screen_text, shown, until
from tui.settled import assert_settled_snapshot
from tui.test_opened_screen import detailed, opened

ROWS = b"".join(b"%d,anna,2026-11-22 14:%02d\n" % (number, number % 60) for number in range(400, 800))
NASTY = b"\x1b]0;title\x07[/][@click=app.quit]\x1b[31mred\r\x00\x9b2J \xff\xfe\t\xe2\x80\xaeevil"


def with_bytes(source: FakeSource, content: bytes | None, note: str | None = None) -> None:
    """What stands in each pipe from now on; None: it cannot be looked into."""

    def answer(request: PeekPipes) -> Pipes:
        found = peeked(source.snapshot.jobs[request.job])
        if request.bytes is None:
            return Pipes(found)
        one = next(each for each in found if each.number == request.pipe)
        fill = None if content is None else len(content)
        held = None if content is None else content[: request.bytes]
        return Pipes((structs.replace(one, fill_bytes=fill, content=held, note=note),))

    source.answers[PeekPipes] = answer


@pytest.mark.parametrize("size", [(160, 50), (80, 24), (40, 12)])
async def test_enter_looks_into_the_chosen_pipe(size: tuple[int, int], tmp_path: Path) -> None:
    source = detailed(tmp_path)
    with_bytes(source, ROWS)
    async with running(source, size) as (app, pilot):
        await opened(app, "3")
        await pilot.press("enter")
        text = await shown(app, lambda text: "400,anna" in text, "the bytes")
        assert "pg_dump ▸ gzip" in text
        assert "the oldest 4.0K of 10K bytes" in text
        if size == (160, 50):
            wanted = ("EVIDENCE", " EVENTS", "╭─ 1 pg_dump shop")
            await shown(
                app, lambda text: all(each in text for each in wanted), "the drawing and the other panes"
            )
        await assert_settled_snapshot(app, f"opened_peek_{size[0]}x{size[1]}")
    first = next(each for each in source.asked(PeekPipes) if each.bytes is not None)
    assert first == PeekPipes(job="3", pipe=1, bytes=FIRST_BYTES)


async def test_it_is_live_as_text_or_as_hex_and_esc_goes_back_to_the_drawing(tmp_path: Path) -> None:
    source = detailed(tmp_path)
    with_bytes(source, b"one\n")
    async with running(source) as (app, pilot):
        screen = await opened(app, "3")
        await pilot.press("right", "enter")
        await shown(app, lambda text: " one\n" in text and "all 4 bytes, as text" in text, "the bytes")
        assert "pipe 2  gzip ▸ ssh" in screen_text(app)
        with_bytes(source, b"two\n")
        await shown(app, lambda text: " two\n" in text and " one\n" not in text, "what stands there now")
        await pilot.press("t")
        await shown(app, lambda text: "74 77 6f 0a" in text and "as hex" in text, "the hex dump")
        await pilot.press("y")
        assert app.clipboard.startswith("job 3, pipe 2: all 4 bytes, as hex\n\n00000000  74 77 6f 0a")
        await pilot.press("left")
        await shown(app, lambda text: "pipe 1  pg_dump ▸ gzip" in text, "the pipe before")
        await pilot.press("escape")
        await shown(app, lambda text: "├ pipe 1" in text, "the drawing")
        assert app.screen is screen


async def test_at_the_end_of_what_is_shown_more_is_asked_for(tmp_path: Path) -> None:
    source = detailed(tmp_path)
    with_bytes(source, ROWS * 3)
    async with running(source) as (app, pilot):
        await opened(app, "3")
        await pilot.press("enter")
        await shown(app, lambda text: "the oldest 4.0K of 30K" in text, "the first of them")
        await pilot.press("down", "G")
        await shown(app, lambda text: "all 30K bytes" in text, "all of them")
        assert max(each.bytes or 0 for each in source.asked(PeekPipes)) == MOST_BYTES
        await pilot.press("g")
        await shown(app, lambda text: " 400,anna" in text, "the oldest again")


@pytest.mark.parametrize(("size", "x", "y"), [((160, 50), 80, 4), ((80, 24), 12, 6)])
async def test_a_click_on_a_pipe_looks_into_it(size: tuple[int, int], x: int, y: int, tmp_path: Path) -> None:
    source = detailed(tmp_path)
    with_bytes(source, ROWS)
    async with running(source, size) as (app, pilot):
        screen = await opened(app, "3")
        assert "pipe 1" in screen_text(app)
        await pilot.click(offset=(x - 40 if size[0] == 160 else x, y))
        await until(lambda: screen.peeked is not None and screen.peeked.pipe == 1, "the first pipe")
        await shown(app, lambda text: "400,anna" in text, "its bytes")
        if size[0] == 160:
            # The drawing stands above the bytes: another pipe is one click away.
            spot = screen.query_one(PipelinePane)._drawing.spots[2]
            await pilot.click(offset=(spot.x + 3, spot.y + 3))
            await until(lambda: screen.peeked is not None and screen.peeked.pipe == 2, "the second pipe")


async def test_an_empty_pipe_and_one_that_cannot_be_looked_into_say_so(tmp_path: Path) -> None:
    source = detailed(tmp_path)
    with_bytes(source, b"")
    async with running(source) as (app, pilot):
        screen = await opened(app, "3")
        await pilot.press("enter")
        await shown(app, lambda text: "It is empty now" in text, "that it is empty")
        with_bytes(source, None, "the kernel does not show [/] what process 47001 has open")
        text = await shown(app, lambda text: "cannot be looked into" in text, "that it is not possible")
        assert "the kernel does not show [/] what process 47001 has open" in text
        await pilot.press("right_square_bracket", "left_square_bracket")
        await shown(app, lambda text: "├ pipe 1" in text, "the drawing, after another job was shown")
        assert screen.peeked is None


async def test_the_keys_say_where_there_is_no_pipe(tmp_path: Path) -> None:
    async with running(detailed(tmp_path)) as (app, pilot):
        screen = await opened(app, "1")
        assert "enter peek" not in screen_text(app)
        await pilot.press("1", "enter")
        await shown(app, lambda text: "has no pipe to look into: it has only one stage" in text, "why not")
        screen.open_other("3")
        await shown(app, lambda text: "enter peek" in text and "←→ choose, enter opens" in text, "the keys")
        await pilot.press("5", "enter")
        await shown(app, lambda text: "this pane has the whole screen already" in text, "that it is alone")
        assert screen.peeked is None


def peek(content: bytes, *, as_hex: bool | None = None) -> Peek:
    pipe = PeekedPipe(
        number=1, from_stage=1, to_stage=2, fill_bytes=len(content), capacity_bytes=65536, content=content
    )
    return Peek(1, pipe, as_hex)


@pytest.mark.parametrize("width", [40, 80, 160])
@pytest.mark.parametrize("charset", [UNICODE, ASCII])
def test_any_bytes_fit_and_none_is_obeyed(width: int, charset: object) -> None:
    job = pipeline_job(3, "dump")
    everything = bytes(range(256)) * 3 + NASTY + "日本語".encode() * 50
    for looked in (peek(everything, as_hex=False), peek(everything, as_hex=True), peek(NASTY)):
        drawn = peek_lines(looked, width, charset)  # type: ignore[arg-type]
        head = peek_head(looked, job, job.pipes[0], width, charset)  # type: ignore[arg-type]
        assert all(lines.width_of(line) <= width for line in [*drawn, *head])
        text = "".join(lines.text(line) for line in drawn)
        assert all(letter.isprintable() for letter in text)


def test_a_long_line_is_folded_and_nothing_of_it_is_lost() -> None:
    drawn = peek_lines(peek(b"x" * 1000 + b"end"), 80, UNICODE)
    assert "".join(lines.text(line)[1:] for line in drawn) == "x" * 1000 + "end"
    assert len(drawn) == 13


def test_what_is_no_text_is_dumped_unasked() -> None:
    (row,) = peek_lines(peek(b"\x1f\x8b\x08\x00gzip"), 80, UNICODE)
    assert lines.text(row) == " 00000000  1f 8b 08 00 67 7a 69 70                           |....gzip|"


@pytest.mark.parametrize("number", [2, 3, 5])
async def test_enter_gives_any_other_pane_the_whole_screen_and_takes_it_back(
    number: int, tmp_path: Path
) -> None:
    async with running(detailed(tmp_path), (160, 50)) as (app, pilot):
        screen = await opened(app, "1")
        await pilot.press(str(number), "enter")
        assert [pane.number for pane in screen.panes if pane.display] == [number]
        assert "has no pipe" not in screen_text(app)
        await pilot.press("enter")
        assert screen.shows_all
