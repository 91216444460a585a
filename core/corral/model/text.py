"""Text from children is data: what reaches a screen contains no control sequences but colours, and cannot spoof.

The sequences are those of ECMA-48: CSI, OSC, DCS, SOS, PM, APC and the two-character ones, in their 7-bit form. The
8-bit form (U+0080 to U+009F), which xterm obeys in UTF-8 too, is not treated as one: it is made visible.

Control strings may be long, as pictures are (sixel, and the protocols of kitty and iTerm2, each also through tmux). As in
terminals, a string of any length ends at ST, BEL, CAN and SUB, and where another sequence begins. One that is not a
picture also ends with its line, and if it has no terminator it is shown as text.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

REPLACEMENT = "\ufffd"

_LONG_STRING = 256
"""Only the beginning of a longer control string is shown: titles and links are shorter."""
_BEGINNING = 64
_SHOWN_STRING = 4096
"""An unterminated control string of up to this length is shown whole, else its beginning."""
_MOST_SKIPPED = 16 << 20
"""After this many characters of a control string the end is no longer awaited, and what follows is shown."""
_PICTURE = r"(?:P[0-9;]{0,32}q|_G|\]1337;)"
_THROUGH_TMUX = "Ptmux;"
_REST = {
    _PICTURE: r"[^\x07\x18\x1a\x1b]*+",
    _THROUGH_TMUX: r"(?:[^\x07\x18\x1a\x1b]|\x1b\x1b)*+",
    r"[\]PX^_]": r"[^\n\x07\x18\x1a\x1b]*+",
}
"""How a control string begins, and the rest up to its terminator; the first that matches counts."""
_BODY = "|".join(begin + rest for begin, rest in _REST.items())
_END = r"(?:\x07|\x1b\\)"
_STRING = rf"\x1b(?P<body>{_BODY})(?P<end>{_END})?+"
_SGR = r"\x1b\[[0-9;:]{0,64}m"
_CSI = r"\x1b\[[0-?]{0,64}[ -/]{0,8}[@-~]"
_SHORT = r"\x1b(?:[ -/]{1,8}[0-~]|[0-OQ-WYZ\\`-~])"

_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_SEPARATORS = "\u2028\u2029"
_UNSEEN = "\u00ad\u200b\u2060-\u2065\u206a-\u206f\ufeff\U000e0000-\U000e007f"
"""Zero width: names that differ only in these look the same. Joiners are text (emoji, Persian)."""
_UNDECODABLE = "\ud800-\udfff\U0010fe80-\U0010feff"
"""Bytes that were not UTF-8, as Python and the wire represent them (`corral.model.wire`)."""

_FIRST_MARK = "\u0300"
_MOST_MARKS = 8
"""No script stacks more; emoji have fewer."""
_MANY_MARKS = f"[{_FIRST_MARK}-\U0010ffff]{{{_MOST_MARKS + 1}}}"
"""Matches wherever there may be more."""
_JOINING = frozenset("\u200c\u200d" + "".join(map(chr, range(0x1160, 0x1200))))
"""Zero width too: joiners, and Hangul letters that combine with the one before (Unicode, 3.12)."""

_CONTROL = rf"[\x00-\x08\x0b-\x1f\x7f-\x9f{_BIDI}{_SEPARATORS}{_UNSEEN}{_UNDECODABLE}]"
_STRIPPED = rf"(?P<sgr>{_SGR})|{_STRING}|(?P<dropped>{_CSI}|{_SHORT})|\r+\n|{_CONTROL}"
_SHOWN = rf"(?P<sgr>{_SGR})|{_STRING}|\r+\n?|{_CONTROL}"

_CONTROLS = rf"\r+\n?|{_CONTROL}"
_PICTURES = f"{_PICTURE}|{_THROUGH_TMUX}"
_UNFINISHED = rf"(?:\r+|\x1b(?:\[[0-9;:]{{0,64}}|(?:{_BODY})\x1b?)?)\Z"
_WITHIN_STRING = rb"\A(?:(?:[^\x1b]|\x1b\x1b)*+\x1b\\|[^\s\x1b\x07]{256,}+\x07)"
_OPENING = 8
"""Characters of a control string that determine its kind."""
_OPEN_STRING = rb"\x1b[\]PX^_][^\n\x07\x18\x1a\x1b]*\Z"

_SGR_PARTS = r"\x1b\[([0-9;:]{0,64})m"
_SEGMENTS_LOOKED_AT = 8

_ODD_SHARE = 0.05
"""Up to this share of characters that are neither text nor white space it still counts as text."""
_WHITE_SPACE = frozenset(b"\t\n\r\f\b\x1b")


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Compiled on first use: `corral ps` usually needs none, as ordinary names contain nothing to replace."""
    return re.compile(pattern)


@cache
def _compiled_bytes(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(pattern)


def sanitise(data: bytes | str, *, colours: bool = False) -> str:
    """`data` safe for a screen: tabs, newlines and text; with `colours` SGR sequences too.

    Bytes that are not UTF-8 become U+FFFD, well-formed control sequences are removed, stray controls become visible.
    """
    text = data if isinstance(data, str) else data.decode("utf-8", "replace")
    return strip_controls(text, keep_colours=colours)


def strip_controls(text: str, *, keep_colours: bool = False) -> str:
    """`text` without well-formed control sequences; each stray control character as one visible character."""
    text = _thin_out(text)
    if text.isprintable():
        return text

    def replace(found: re.Match[str]) -> str:
        if found["sgr"] is not None:
            return found[0] if keep_colours else ""
        if found["dropped"] is not None or found["end"] is not None:
            return ""
        body = found["body"]
        if body is None:
            return _visible(found[0])
        return "" if _compiled(_PICTURES).match(body) else _shown_string(found, _SHOWN_STRING)

    return _compiled(_STRIPPED).sub(replace, text)


def make_visible(data: bytes, *, colours: bool = True) -> bytes:
    """`data` for a terminal: nothing is hidden, and nothing takes effect but tab, newline and, with `colours`, SGR.

    An escape becomes `␛` and what follows it plain text; a long control string (a picture) becomes its beginning and `…`.
    A lone carriage return ends the line, so that each state of a progress bar is a line of its own.
    """
    return _show(data.decode("utf-8", "replace"), colours).encode()


def one_line(data: bytes | str) -> str:
    """`data` as one line without colours: for names, commands and paths. Line breaks become `␤`, tabs blanks."""
    return sanitise(data).replace("\n", "␤").replace("\t", " ")


def _show(text: str, colours: bool) -> str:
    def replace(found: re.Match[str]) -> str:
        if found["sgr"] is not None:
            return found[0] if colours else f"␛{found[0][1:]}"
        if found["body"] is not None:
            return _shown_string(found, _LONG_STRING)
        return _shown_control(found)

    return _compiled(_SHOWN).sub(replace, _thin_out(text))


def _shown_string(found: re.Match[str], limit: int) -> str:
    """A control string as text; only its beginning if the body has more than `limit` characters."""
    is_long = len(found["body"]) > limit
    text = found[0][: 1 + _BEGINNING] if is_long else found[0]
    return _compiled(_CONTROLS).sub(_shown_control, text) + ("…" if is_long else "")


def _shown_control(found: re.Match[str]) -> str:
    return "\n" if found[0][0] == "\r" else _visible(found[0])


def _thin_out(text: str) -> str:
    """`text` with at most `_MOST_MARKS` combining characters per letter: thousands in one cell stall a terminal."""
    if text.isascii() or not _compiled(_MANY_MARKS).search(text):
        return text
    from unicodedata import category

    kept, count = [], 0
    for letter in text:
        if letter < _FIRST_MARK or not (letter in _JOINING or category(letter) in ("Mn", "Me")):
            count = 0
        else:
            count += 1
        if count <= _MOST_MARKS:
            kept.append(letter)
    return "".join(kept)


def _visible(control: str) -> str:
    code = ord(control[0])
    if control[-1] == "\n":
        return "\n"
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return "" if _compiled(f"[{_UNSEEN}]").match(control) else REPLACEMENT


class VisibleStream:
    """`make_visible` with colours for a stream: chunk boundaries split no character or sequence.

    At most `_LONG_STRING` characters are held back between two calls. Omitted parts of control strings are not kept.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._rest: str | None = None
        """Matches the rest of the control string whose beginning was shown."""
        self._skipped = 0
        self._is_coloured = False

    def feed(self, data: bytes) -> bytes:
        """As much of the text as is certain by the end of `data`."""
        text = self._held + self._decoder.decode(data)
        if self._rest is not None:
            text = self._after_string(text, self._rest)
            if self._rest is not None:
                self._held = text
                return b""
        unfinished = _compiled(_UNFINISHED).search(text)
        end = len(text) if unfinished is None else unfinished.start()
        self._held = text[end:]
        shown = self._show(text[:end])
        if len(self._held) > _LONG_STRING and (begun := _compiled(_STRING).match(self._held)):
            shown += self._begin_string(begun)
        return shown.encode()

    def flush(self) -> bytes:
        """The remainder at the end of the stream; resets colours that were left on."""
        rest = self._held + self._decoder.decode(b"", final=True)
        if self._rest is not None:
            rest = self._after_string(rest, self._rest)
        self._held, self._rest = "", None
        shown = self._show(rest)
        reset = "\x1b[0m" if self._is_coloured else ""
        self._is_coloured = False
        return (shown + reset).encode()

    def _begin_string(self, found: re.Match[str]) -> str:
        """The visible beginning of a control string that has become long; empty if it has not."""
        body = found["body"]
        if len(body) <= _LONG_STRING:
            return ""
        self._rest = next(rest for begin, rest in _REST.items() if _compiled(begin).match(body))
        self._skipped = len(body)
        self._held = self._held[found.end() :]
        return _shown_string(found, _LONG_STRING)

    def _after_string(self, text: str, rest: str) -> str:
        """The text after the string's end; if the end is not in it, the escape that may begin the terminator."""
        found = _compiled(rest).match(text)
        end = 0 if found is None else found.end()
        self._skipped += end
        if text[end:] in ("", "\x1b") and self._skipped < _MOST_SKIPPED:
            return text[end:]
        self._rest = None
        finish = _compiled(_END).match(text, end)
        return text[end if finish is None else finish.end() :]

    def _show(self, text: str) -> str:
        shown = _show(text, colours=True)
        last = shown.rfind("\x1b[")
        if last >= 0:
            self._is_coloured = shown[last + 2 : shown.index("m", last)].strip("0;:") != ""
        return shown


def skip_control_string_end(data: bytes) -> bytes:
    """`data` from the middle of a stream, without the end of a control string that began earlier."""
    found = _compiled_bytes(_WITHIN_STRING).match(data)
    return data if found is None else data[found.end() :]


def end_of_line(line: bytes, limit: int) -> bytes:
    """The last `limit` bytes of an unfinished line, after the introducer of a control string still open there."""
    cut, kept = line[:-limit], line[-limit:]
    found = _compiled_bytes(_OPEN_STRING).search(cut)
    return kept if found is None else found[0][:_OPENING] + kept


def after_carriage_returns(line: bytes) -> bytes:
    """What carriage returns leave visible of `line`: the last piece that is not blank, such as a progress bar's last state."""
    if b"\r" not in line:
        return line
    pieces = line.rsplit(b"\r", _SEGMENTS_LOOKED_AT)
    return next((piece for piece in reversed(pieces) if sanitise(piece).strip()), b"")


class SgrRun(NamedTuple):
    """A piece of text and the SGR parameters before it; None if there are none."""

    text: str
    sgr: tuple[int, ...] | None


def split_sgr(text: str) -> list[SgrRun]:
    """`text` (sanitised with colours) split at its SGR sequences, in order; empty parameters are 0.

    Forms with colons are converted to those with semicolons: `38:2::1:2:3` is (38, 2, 1, 2, 3), `4:3` is (4,).
    """
    pieces = _compiled(_SGR_PARTS).split(text)
    runs = [SgrRun(pieces[0], None)] if pieces[0] else []
    for parameters, piece in zip(pieces[1::2], pieces[2::2], strict=True):
        runs.append(SgrRun(piece, tuple(_parameters(parameters))))
    return runs


def _parameters(written: str) -> list[int]:
    found: list[int] = []
    for parameter in written.split(";"):
        values = [int(value or "0") for value in parameter.split(":")]
        if len(values) == 1 or values[0] not in (38, 48, 58):
            found.append(24 if values[:2] == [4, 0] else values[0])
        else:
            found += values[:2] + values[2:][-3:]
    return found


# ---- as text or as a hex dump -------------------------------------------------------------------------------------


def is_text(data: bytes) -> bool:
    """Whether it is UTF-8 with few control characters; characters cut off at either end are allowed."""
    if b"\0" in data:
        return False
    decoded = data.decode("utf-8", "replace")
    odd = sum(1 for char in decoded if (char < " " and ord(char) not in _WHITE_SPACE) or char == "\ufffd")
    return odd <= 2 or odd <= _ODD_SHARE * len(decoded)


def hex_rows(data: bytes, offset: int = 0, row: int = 16) -> Iterator[str]:
    """Rows of `row` bytes, 16 at most: offset, hexadecimal, and printable ASCII."""
    for start in range(0, len(data), row):
        piece = data[start : start + row]
        written = f"{piece[:8].hex(' '):<{3 * min(row, 8) - 1}}"
        if row > 8:
            written += f"  {piece[8:].hex(' '):<{3 * (row - 8) - 1}}"
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in piece)
        yield f"{offset + start:08x}  {written}  |{shown}|"


def readable_lines(data: bytes, *, as_hex: bool = False) -> list[str]:
    """Lines of text with control characters made visible, or of a hex dump."""
    if as_hex or not is_text(data):
        return list(hex_rows(data))
    lines = make_visible(data, colours=False).decode().split("\n")
    return lines[:-1] if lines[-1] == "" else lines
