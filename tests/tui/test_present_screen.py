"""The present screen of a job that draws in place: what its terminal would show, whatever a child sends."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from corral.output.reader import OutputFile
from corral_tui.dashboard.paint.ansi import OutputLine
from corral_tui.dashboard.paint.emulator import Emulator
from corral_tui.dashboard.paint.output_tails import Tails
from corral_tui.dashboard.paint.terminal_preview import MOST_BEHIND, Budget, PresentScreen, draws_in_place
from tui.fake_jobs import ended_job, job
from tui.fake_source import FakeSource
from tui.screens import running, screen_text, shown

LONG = 3600.0
"""Seconds: a budget that is never spent."""


def text(row: OutputLine) -> str:
    return "".join(piece for piece, _ in row)


def drawn(data: bytes | str, columns: int = 12, rows: int = 4, piece: int = 1) -> list[str]:
    """The screen after this, fed in pieces of that many bytes."""
    emulator = Emulator((columns, rows))
    raw = data.encode() if isinstance(data, str) else data
    for at in range(0, len(raw), piece):
        emulator.feed(raw[at : at + piece])
    return [text(emulator.row(y)) for y in range(rows)]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("one\r\ntwo", ["one", "two", "", ""]),
        ("a\r\nb\r\nc\r\nd\r\ne", ["b", "c", "d", "e"]),
        ("0123456789abcdef", ["0123456789ab", "cdef", "", ""]),
        ("\x1b[2;3Hhere\x1b[1;1Hthere", ["there", "  here", "", ""]),
        ("old\x1b[?1049h\x1b[Hnew", ["new", "", "", ""]),
        ("abcdef\x1b[3D\x1b[K\x1b[Bx", ["abc", "   x", "", ""]),
        ("-\x1b[5b", ["------", "", "", ""]),  # REP
        ("a\r\nb\r\nc\x1b[S", ["b", "c", "", ""]),
        ("a\r\nb\r\nc\x1b[2T", ["", "", "a", "b"]),
        ("a\r\nb\r\nc\x1b[2M", ["a", "b", "", ""]),
        ("a\r\nb\r\nc\x1b[2;2H\x1b[M.", ["a", ".", "", ""]),
        ("a\r\nb\r\nc\x1b[2;2H\x1b[L.", ["a", ".", "b", "c"]),
        ("a\r\nb\r\nc\x1b[2;3r\x1b[H\x1b[L\x1b[9999S.", [".", "", "", ""]),
        ("a\r\nb\r\nc\x1b[2;2H\x1b[1J.", ["", " .", "c", ""]),
        ("a\x1b#8\x1b[2;3H\x1b[J", ["E" * 12, "EE", "", ""]),
        ("\x1b[99I.\x1b[H\x1b[I.", ["        .  .", "", "", ""]),
        ("\x1b[2;3r\x1b[2;1Hx\r\ny\r\nz\x1b[H^", ["^", "y", "z", ""]),
        ("a\tb\x1b[Zc", ["a       c", "", "", ""]),
        ("\x1b(0lqk\x1b(Bx", ["┌─┐x", "", "", ""]),
        ("\x1b7ab\x1b8c\x1b[5;1H\x1b[sx\x1b[uy", ["cb", "", "", "y"]),
        ("日本語x\x1b[3Dy", ["日本yx", "", "", ""]),
        ("\ue0b0\u202ex", ["·x", "", "", ""]),
        ("e\u0301\u200bz", ["\u00e9z", "", "", ""]),
        # What it does not know is left out as a whole, wherever the pieces end.
        ("\x1b]0;a title\x07x", ["x", "", "", ""]),
        ("\x1b]8;;http://x\x1b\\y\x1b]8;;\x1b\\z", ["yz", "", "", ""]),
        ("\x1bP+q544e\x1b\\\x1b_G\x1b\\\x1b^p\x1b\\x", ["x", "", "", ""]),
        ("\x1b]an open one\x1b[2;1Hx", ["", "x", "", ""]),
        ("\x1b[>4;2m\x1b[<u\x1b[=3u\x1b[?u\x1b[?2004h\x1b[1$p\x1b[18tx", ["x", "", "", ""]),
        ("\x1b[1;2;3;4A\x1b[7J\x1b[9K\x1b[?5n\x1b[;;;Hx", ["x", "", "", ""]),
        ("\x1b\x1b\x1b[mx\x1b", ["x", "", "", ""]),
    ],
)
def test_what_a_terminal_would_show(data: str, expected: list[str]) -> None:
    assert drawn(data) == expected
    assert drawn(data, piece=1000) == expected


def test_colours_are_kept() -> None:
    emulator = Emulator((40, 1))
    emulator.feed(
        b"\x1b[1;31mred\x1b[0;38;5;200mpink\x1b[48:2::1:2:3mon\x1b[0;93;105;7mx\x1b[0;4:3;58;2;9;9;9mu\x1b[mend"
    )
    looks = dict(emulator.row(0))
    assert list(looks) == ["red", "pink", "on", "x", "u", "end"]
    assert looks["red"].bold
    assert looks["red"].color is not None
    assert looks["red"].color.number == 1
    assert looks["pink"].color is not None
    assert looks["pink"].color.get_truecolor().hex == "#ff00d7"
    assert looks["on"].bgcolor is not None
    assert looks["on"].bgcolor.get_truecolor().hex == "#010203"
    assert (looks["x"].color.number, looks["x"].bgcolor.number, looks["x"].reverse) == (11, 13, True)  # type: ignore[union-attr]
    assert (looks["u"].underline, looks["u"].color) == (True, None)
    assert looks["end"].color is None


def test_a_hostile_child_costs_no_more_than_its_bytes() -> None:
    emulator = Emulator((80, 24))
    for data in (
        b"\x1b7" * 5000,
        b"e" + "\u0301".encode() * 5000 + b"\x08a" + ("\x07\u0301" * 500).encode(),
        b"\x1b]0;" + b"x" * 100_000,
        b"\x1b[" + b"9" * 10_000 + b"m",
        b"\x1b[9999S\x1b[9999T\x1b[9999L\x1b[9999b\x1b[9999Z\x1b[9999I" * 20,
        b"\x1b[38;2;999;1;1;48;5;999;38mx\x1b[?3h\x1b[8;500;500t",
    ):
        emulator.feed(b"\x18" + data)
    screen = emulator._screen
    assert len(screen.savepoints) < 20
    assert (screen.columns, screen.lines) == (80, 24)
    assert max(len(cell.data) for line in screen.buffer.values() for cell in line.values()) <= 8
    assert len(emulator._held) < 1000
    assert Emulator((65535, 65535)).height < 1000


def test_few_bytes_that_go_over_all_of_a_large_screen_are_soon_done() -> None:
    """Each took up to two minutes for these 1,024 bytes; tests have a time limit."""
    for sequence in (
        "\x1b#8",
        "\x1b[?5h",
        "\x1b[?5l",
        "\x1b[2J",
        "\x1b[9999S",
        "\x1b[9999T",
        "\x1b[9999L",
        "\x1b[9999I",
    ):
        emulator = Emulator((500, 200))
        emulator.feed(b"\x1b#8\x1b[100;100H")
        emulator.feed((sequence * 1024)[:1024].encode())
        assert emulator.size == (500, 200)


def test_a_reversed_screen_is_shown_so_until_it_is_turned_back() -> None:
    emulator = Emulator((4, 2))
    emulator.feed(b"ab\x1b[?5h")
    assert [(piece, style.reverse) for piece, style in emulator.row(0)] == [("ab  ", True)]
    assert [(piece, style.reverse) for piece, style in emulator.row_with_cursor(0)] == [
        ("ab", True),
        (" ", None),
        (" ", True),
    ]
    emulator.feed(b"\x1b[?5l")
    assert [(piece, style.reverse) for piece, style in emulator.row(0)] == [("ab", None)]
    emulator.feed(b"\x1b[?5h\x1bc")
    assert emulator.row(0) == ()


def test_no_bytes_break_it() -> None:
    chance = random.Random(4)
    pieces = [
        b"\x1b",
        b"\x1b[",
        b"]",
        b"?",
        b";",
        b":",
        b"1",
        b"9999",
        b"\xc3\xa9",
        b"\xcc\x81",
        b"\xe4\xb8\xad",
        b"\x9b",
    ]
    pieces += [bytes([letter]) for letter in (*range(7, 16), *range(64, 127))]
    for _ in range(40):
        emulator = Emulator((chance.randint(1, 30), chance.randint(1, 9)))
        for _ in range(4):
            emulator.feed(b"".join(chance.choice(pieces) for _ in range(200)) + chance.randbytes(50))
            emulator.resize((chance.randint(1, 30), chance.randint(1, 9)))
            for y in range(emulator.height):
                assert text(emulator.row_with_cursor(y)).replace("\xa0", " ").isprintable()
            assert emulator.used_rows <= emulator.height


def following(tmp_path: Path, data: bytes, **changes: object) -> tuple[FakeSource, PresentScreen]:
    source = FakeSource(
        [job(1, "vim", pty=True, full_screen=True, terminal_size=(80, 24), **changes)], home=str(tmp_path)
    )
    source.write_output("1", data)
    return source, PresentScreen(source.home, "1")


@pytest.mark.parametrize("size", [1000, 1 << 20])
def test_a_picture_is_left_out(size: int, tmp_path: Path) -> None:
    source, screen = following(tmp_path, b"\x1b[?1049h\x1b[Hplot\r\n")
    data = b"\x1b_Gf=100;" + b"aGVsbG8" * 50_000 + b"\x1b\\\x1b[5;1Hafter"
    for start in range(0, len(data), size):
        source.write_output("1", data[start : min(start + size, len(data) - 12)])
        screen.update(source.snapshot.jobs["1"], Budget(LONG))
        assert not any("aGVsb" in text(row) for row in screen.rows(24))
    source.write_output("1", data[-12:])
    screen.update(source.snapshot.jobs["1"], Budget(LONG))
    assert "after" in [text(row).strip() for row in screen.rows(24)]
    assert not any("aGVsb" in text(row) for row in screen.rows(24))


def test_only_the_end_is_drawn_and_in_slices(tmp_path: Path) -> None:
    source, screen = following(tmp_path, b"\x1b[?1049h\x1b[?25l" + b"old text " * 50_000)
    source.write_output("1", b"\x1b[H\x1b[2J\x1b[Hnewest\x1b[5;1H" + b"x" * 1500)
    looks = 1
    while screen.update(source.snapshot.jobs["1"], Budget(0.0)) and not screen.is_complete:
        looks += 1
    assert looks == 2  # two slices since it began anew
    assert text(screen.row(0)) == "newest"
    source.write_output("1", b"\x1b[H" + b"y" * (MOST_BEHIND + 10) + b"\x1b[2J\x1b[3;3Hlast")
    screen.update(source.snapshot.jobs["1"], Budget(LONG))
    assert [text(each).rstrip() for each in screen.rows(24)] == ["", "", "  last"]


def test_the_part_with_the_cursor_is_shown_where_there_is_no_room_for_all(tmp_path: Path) -> None:
    numbered = b"".join(b"\x1b[%d;1Hrow %d" % (row, row) for row in range(1, 25))
    source, screen = following(tmp_path, b"\x1b[?1049h" + numbered + b"\x1b[20;5H")
    screen.update(source.snapshot.jobs["1"], Budget(LONG))
    assert [text(each) for each in screen.rows(3)] == ["row 18", "row 19", "row 20"]
    assert [piece for piece, style in screen.row(19) if style.reverse] == ["2"]
    assert text(screen.one_row()) == "row 20"
    source.write_output("1", b"\x1b[?25l")
    screen.update(source.snapshot.jobs["1"], Budget(LONG))
    assert [text(each) for each in screen.rows(3)] == ["row 1", "row 2", "row 3"]
    assert not any(style.reverse for _, style in screen.row(19))


def test_what_draws_in_place_and_what_prints_lines(tmp_path: Path) -> None:
    source = FakeSource([job(1, "sh", pty=True)], home=str(tmp_path))

    def draws(data: bytes) -> bool:
        source.write_output("1", data)
        with OutputFile(source.home.stdout("1")) as file:
            return draws_in_place(file, source.snapshot.jobs["1"])

    assert not draws(b"a line\r\nand \x1b[31mcolour\x1b[0m\r\n\x1b[K50%\r")
    assert draws(b"\x1b[Htop - 12:00")
    assert not draws(b"\x1b[?1049h\x1b[2;2Hvim\x1b[?1049l$ ls\r\n")
    source.change("1", pty=False)
    assert not draws(b"\x1b[H in a file")


def test_after_the_screen_come_lines_again(tmp_path: Path) -> None:
    source = FakeSource([job(1, "sh", pty=True, full_screen=True)], home=str(tmp_path))
    source.write_output("1", b"$ vim\r\n\x1b[?1049h\x1b[2;1H~\x1b[3;1H~ text")
    tails = Tails(source.home)

    def lines() -> list[str]:
        tails.update(source.snapshot.jobs.values())
        tail = tails.of(source.snapshot.jobs["1"])
        assert tail is not None
        return [text(line) for line in tail.last_lines(5)]

    assert lines() == ["", "~", "~ text "]
    source.write_output("1", b"\x1b[?1049l\x1b[?25h$ echo hello\r\nhello\r\n")
    source.change("1", full_screen=False)
    assert lines() == ["$ echo hello", "hello"]


@pytest.mark.parametrize("size", [(80, 24), (160, 50)])
async def test_panel_preview_and_pane_show_it_within_their_edges(
    size: tuple[int, int], tmp_path: Path
) -> None:
    source = FakeSource(
        [job(1, "vim", pty=True, full_screen=True, terminal_size=(200, 60)), job(2, "build"), job(3, "test")],
        home=str(tmp_path),
    )
    source.write_output(
        "1", b"\x1b[?1049h\x1b[H" + b"".join(b"\x1b[%d;1H%s" % (row, b"[/]w" * 50) for row in range(1, 61))
    )
    async with running(source, size) as (app, pilot):
        await shown(app, lambda seen: "[/]w[/]w" in seen, "the screen in a panel")
        assert all(len(line) <= size[0] for line in screen_text(app).splitlines())
        await pilot.press("v", "i")
        await shown(app, lambda seen: "LAST LINE" in seen and "[/]w[/]w" in seen, "the table")
        await pilot.press("enter")
        await shown(app, lambda seen: seen.count("[/]w[/]w") > 10 and "screen 200x60" in seen, "the pane")
        source.write_output("1", b"\x1b[?1049l$ \r\ndone\r\n")
        source.put(ended_job(1, "vim", pty=True, stdout_bytes=source.snapshot.jobs["1"].stdout_bytes))
        await shown(
            app, lambda seen: "done" in seen and "[/]w[/]w" not in seen.splitlines()[-3], "lines again"
        )


def test_the_emulator_is_loaded_only_where_a_job_needs_it() -> None:
    code = "import sys, corral_tui.dashboard.start; print('pyte' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "False\n"
