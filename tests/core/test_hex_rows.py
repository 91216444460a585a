"""Bytes for people."""

from hypothesis import given
from hypothesis import strategies as st

from corral.model.text import hex_rows, is_text, readable_lines


def test_text_is_shown_as_text_and_its_control_characters_made_visible():
    assert is_text("naïve\n".encode())
    assert readable_lines(b"one\ntwo\x1b[2J\n") == ["one", "two␛[2J"]


def test_what_is_no_text_is_dumped():
    assert not is_text(b"\x1f\x8b\x08\0\0")
    assert readable_lines(b"\x1f\x8b\x08\0ABC") == [
        "00000000  1f 8b 08 00 41 42 43                              |....ABC|"
    ]


def test_text_is_dumped_where_asked_for():
    assert readable_lines(b"0123456789abcdefX", as_hex=True) == [
        "00000000  30 31 32 33 34 35 36 37  38 39 61 62 63 64 65 66  |0123456789abcdef|",
        "00000010  58                                                |X|",
    ]


@given(st.binary(max_size=200))
def test_every_byte_stands_in_the_dump(data):
    dumped = "".join(row[10:59] for row in hex_rows(data))
    assert bytes.fromhex(dumped) == data


@given(st.binary(max_size=400))
def test_nothing_that_moves_a_cursor_is_left(data):
    assert all(char >= " " or char == "\t" for line in readable_lines(data) for char in line)
