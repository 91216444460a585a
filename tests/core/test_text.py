from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.model.text import (
    SgrRun,
    VisibleStream,
    after_carriage_returns,
    end_of_line,
    make_visible,
    one_line,
    sanitise,
    skip_control_string_end,
    split_sgr,
)

PIECES = st.sampled_from(
    [
        *(b"\x1b \x1b[ \x1b] \x1bP \x1b\\ \x1b[31m \x1b[0m \x1b_G \x1bPtmux; \x1b\x1b \x18 \x1b[2K \x1b(B \x07 \r \r\n \n \t 1;2 m ? \x9b \x7f \x00 \xc2 \xe2\x80"
          b" \xae \xff a").split(b" "),
        "é‮😀\u2028\ufeff".encode(),
        b"x" * 5000,
    ]
)  # fmt: skip
HOSTILE = st.lists(PIECES | st.binary(max_size=8), max_size=20).map(b"".join)

SGR = re.compile(r"\x1b\[[0-9;:]*m")
OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


@pytest.mark.parametrize(
    ("data", "plain", "coloured"),
    [
        (b"a\tb\n", "a\tb\n", "a\tb\n"),
        (b"\x1b[1;31mred\x1b[m", "red", "\x1b[1;31mred\x1b[m"),
        (b"\x1b[38:2::1:2:3mx", "x", "\x1b[38:2::1:2:3mx"),
        (b"a\x1b[2K\x1b[?25l\x1b[10;10Hb", "ab", "ab"),
        (b"\x1b]0;title\x07a\x1b]8;;http://x\x1b\\link", "alink", "alink"),
        (b"\x1bP1;2qsixel\x1b\\a\x1b_apc\x1b\\b\x1b^pm\x1b\\", "ab", "ab"),
        (b"\x1b(Ba\x1b=b\x1b7c\x1bcd", "abcd", "abcd"),
        (b"\x07\x08\x7f\x00", "␇␈␡␀", "␇␈␡␀"),
        (b"a\x1b", "a␛", "a␛"),
        (b"\x1b[31", "␛[31", "␛[31"),
        (b"\x1b[<1mx", "x", "x"),
        (b"\x1b]no end\nnext", "␛]no end\nnext", "␛]no end\nnext"),
        (b"\xff\xc2\x9b31m", "��31m", "��31m"),
        (b"a\r\nb\rc", "a\nb␍c", "a\nb␍c"),
        ("gpj.‮exe\u2028".encode(), "gpj.�exe�", "gpj.�exe�"),
        ("a\u200bb\ufeffc".encode(), "abc", "abc"),
        ("👩\u200d💻".encode(), "👩\u200d💻", "👩\u200d💻"),
        (b"[/foo] [red]", "[/foo] [red]", "[/foo] [red]"),
    ],
)
def test_control_sequences_go_and_stray_controls_show(data: bytes, plain: str, coloured: str) -> None:
    assert sanitise(data) == plain
    assert sanitise(data, colours=True) == coloured


def test_undecodable_bytes_of_an_argv_are_fit_to_encode() -> None:
    assert sanitise(b"a\xe9".decode("utf-8", "surrogateescape")) == "a�"
    assert sanitise("a\U0010fee9") == "a�"


PAYLOAD = b"aGVsbG8" * 1000
PICTURES = {
    "sixel": b"\x1bP0;0;0q#0;2;0;0;0" + b"#0!90~-\n" * 2000 + b"\x1b\\",
    "kitty": b"".join(b"\x1b_Gm=%d,f=100;%b\x1b\\" % (n < 9, PAYLOAD[:4096]) for n in range(10)),
    "iterm": b"\x1b]1337;File=inline=1:" + PAYLOAD * 40 + b"\x07",
    "tmux": b"\x1bPtmux;\x1b\x1b_Ga=T;" + PAYLOAD + b"\x1b\x1b\\\x1b\\",
    "clipboard": b"\x1b]52;c;" + PAYLOAD + b"\x07",
}


@pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)
@pytest.mark.parametrize("size", [1, 7, 4096, 1 << 20])
def test_a_picture_is_no_wall_of_text(picture: bytes, size: int) -> None:
    data = b"before " + picture + b"after\n"
    assert sanitise(data) == "before after\n"
    stream = VisibleStream()
    pieces = (data[at : at + size] for at in range(0, len(data), size))
    shown = b"".join(map(stream.feed, pieces)) + stream.flush()
    assert shown == make_visible(data)
    assert len(shown) < 1000
    assert shown.startswith(b"before \xe2\x90\x9b")
    assert shown.endswith("…after\n".encode())


@pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)
def test_a_picture_that_began_before_what_is_read_leaves_nothing(picture: bytes) -> None:
    data = picture[-4096:] + b"after"
    assert skip_control_string_end(data) in (
        b"after",
        *(last + b"after" for last in (b"\x1b\\", b"\x1b\x1b\\\x1b\\")),
    )
    assert sanitise(skip_control_string_end(data)) == "after"
    for text in (b"after", b"a\nbell\x07 b", b"a\x1b[31mred\x1b[0m", b"a\x1b]8;;u\x1b\\link\x1b]8;;\x1b\\"):
        assert skip_control_string_end(text) == text


@pytest.mark.parametrize("name", ["kitty", "iterm", "clipboard"])
def test_a_picture_on_its_way_leaves_nothing(name: str) -> None:
    begun = b"x" + PICTURES[name][:-3]
    assert len(sanitise(end_of_line(begun, 4096))) < 80
    assert len(sanitise(begun)) < 80
    assert end_of_line(b"x" * 9, 4) == b"xxxx"


def test_a_control_string_without_an_end_swallows_nothing_for_ever() -> None:
    whole = b"\x1b]" + b"x" * 10_000
    assert sanitise(whole + b"\nnext") == "␛]" + "x" * 63 + "…\nnext"
    assert sanitise(whole + b"\x1b[31mred") == "␛]" + "x" * 63 + "…red"
    assert sanitise(b"\x1b]" + b"x" * 1000 + b"\nnext") == "␛]" + "x" * 1000 + "\nnext"
    assert sanitise(whole + b"\x07after") == "after"
    stream = VisibleStream()
    shown = b"".join(
        stream.feed(b"\x1b_G" + b"x" * (1 << 20) if n == 0 else b"x" * (1 << 20)) for n in range(18)
    )
    assert 1 << 20 < len(shown) < 3 << 20


def test_one_line_holds_no_line_break() -> None:
    assert one_line(b"a\nb\tc\r\n\x1b[31md") == "a␤b c␤d"


@given(HOSTILE)
def test_nothing_that_a_terminal_obeys_is_left(data: bytes) -> None:
    assert not OBEYED.search(sanitise(data))
    assert not OBEYED.search(SGR.sub("", sanitise(data, colours=True)))
    assert not OBEYED.search(SGR.sub("", make_visible(data).decode()))
    assert not OBEYED.search(make_visible(data, colours=False).decode())


@given(st.text())
def test_a_lone_surrogate_or_any_other_character_can_be_shown(text: str) -> None:
    assert sanitise(text).encode().decode() == sanitise(text)


@given(st.lists(HOSTILE, max_size=5))
def test_chunks_break_nothing(chunks: list[bytes]) -> None:
    stream = VisibleStream()
    seen = b"".join(stream.feed(chunk) for chunk in chunks) + stream.flush()
    assert seen.removesuffix(b"\x1b[0m") == make_visible(b"".join(chunks)).removesuffix(b"\x1b[0m")


def test_bytes_one_by_one_come_out_whole() -> None:
    data = "é\x1b[1;31mwörld\x1b]0;t\x07\x1b[0m\r\n".encode()
    stream = VisibleStream()
    shown = b"".join(stream.feed(data[i : i + 1]) for i in range(len(data)))
    assert shown.decode() == "é\x1b[1;31mwörld␛]0;t␇\x1b[0m\n"


@pytest.mark.parametrize(
    ("data", "left"),
    [(b"\x1b[31mred", b"\x1b[0m"), (b"\x1b[31mred\x1b[0m", b""), (b"\x1b[31mred\x1b[m.", b""), (b"x", b"")],
)
def test_the_end_of_a_stream_resets_its_colours(data: bytes, left: bytes) -> None:
    stream = VisibleStream()
    stream.feed(data)
    assert stream.flush() == left


def test_made_visible_hides_nothing() -> None:
    data = b"\x1b]52;c;cGF5\x07\x1b[31mred\x1b[0m\x1b[2J\x08\xff\t\n"
    assert make_visible(data).decode() == "␛]52;c;cGF5␇\x1b[31mred\x1b[0m␛[2J␈�\t\n"
    assert make_visible(b"\x1b[31mred", colours=False).decode() == "␛[31mred"


def test_made_visible_each_state_of_a_progress_bar_is_a_line() -> None:
    assert make_visible(b" 1%\r 2%\r\n\r\r\nx").decode() == " 1%\n 2%\n\nx"


def test_a_line_is_what_a_terminal_would_leave() -> None:
    assert after_carriage_returns(b" 1%\r 2%\r\x1b[K") == b" 2%"
    assert after_carriage_returns(b"\r\r\r") == b""


def test_text_is_cut_at_its_colours() -> None:
    assert split_sgr("a\x1b[1;31mb\x1b[38:2::1:2:3mc\x1b[md\x1b[4:3me\x1b[38;5;9mf\x1b[4:0m") == [
        SgrRun("a", None),
        SgrRun("b", (1, 31)),
        SgrRun("c", (38, 2, 1, 2, 3)),
        SgrRun("d", (0,)),
        SgrRun("e", (4,)),
        SgrRun("f", (38, 5, 9)),
        SgrRun("", (24,)),
    ]
    assert split_sgr("") == []


@given(HOSTILE)
def test_no_colour_is_lost_or_invented(data: bytes) -> None:
    text = sanitise(data, colours=True)
    assert "".join(run.text for run in split_sgr(text)) == sanitise(data)


@pytest.mark.parametrize("mark", ["\u0301", "\u0e47", "\u20dd", "\u200d", "\u1161", "\ufe0f", "\U000e0100"])
def test_a_flood_of_marks_is_thinned_out(mark: str) -> None:
    shown = sanitise(f"a{mark * 3000}b{mark * 3}")
    assert shown == f"a{mark * 8}b{mark * 3}"
    assert make_visible(f"a{mark * 3000}b".encode()) == f"a{mark * 8}b".encode()


@pytest.mark.parametrize(
    "text",
    [
        "\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e " * 3,
        "\u65e5\u672c\u8a9e" * 20,
        "\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd" * 3,
        "\U0001f469\U0001f3fd\u200d\U0001f692" * 5 + "\U0001f1e9\U0001f1ea",
        "\u1112\u1161\u11ab\u1100\u1173\u11af" * 4,
    ],
)
def test_no_language_is_thinned_out(text: str) -> None:
    assert sanitise(text) == text
