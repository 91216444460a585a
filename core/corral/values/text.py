"""Text from children is data: what reaches a screen holds no control sequence but colours, and cannot spoof.

The sequences are those of ECMA-48: CSI, OSC, DCS, SOS, PM, APC and the two-character ones, in their 7-bit form. The
8-bit form (U+0080 to U+009F), which xterm obeys in UTF-8 too, is never taken for one: it is made visible.
"""

from __future__ import annotations

import codecs
import re
from functools import cache
from typing import NamedTuple

REPLACEMENT = "\ufffd"

_STRING_LIMIT = 4096
"""A control string that has no end within so many characters, or within its line, is shown instead of swallowed."""
_SGR = r"\x1b\[[0-9;:]{0,64}m"
_CSI = r"\x1b\[[0-?]{0,64}[ -/]{0,8}[@-~]"
_OSC = rf"\x1b\][^\x07\x1b\n]{{0,{_STRING_LIMIT}}}(?:\x07|\x1b\\)"
_STRING = rf"\x1b[PX^_][^\x1b\n]{{0,{_STRING_LIMIT}}}\x1b\\"
_SHORT = r"\x1b(?:[ -/]{1,8}[0-~]|[0-OQ-WYZ\\`-~])"

_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_SEPARATORS = "\u2028\u2029"
_UNSEEN = "\u00ad\u200b\u2060-\u2065\u206a-\u206f\ufeff\U000e0000-\U000e007f"
"""Take no room on a screen: two names that differ in them look the same. Joiners are text (emoji, Persian)."""
_UNDECODABLE = "\ud800-\udfff\U0010fe80-\U0010feff"
"""Bytes that were no UTF-8, as Python and as the wire carry them (`corral.values.wire`)."""

_FIRST_MARK = "\u0300"
_MOST_MARKS = 8
"""No language's letters have more; emoji have fewer."""
_MANY_MARKS = f"[{_FIRST_MARK}-\U0010ffff]{{{_MOST_MARKS + 1}}}"
"""Where there may be more."""
_JOINING = frozenset("\u200c\u200d" + "".join(map(chr, range(0x1160, 0x1200))))
"""Take no room either: joiners, and the Hangul letters that join the one before (Unicode, 3.12)."""

_CONTROL = rf"[\x00-\x08\x0b-\x1f\x7f-\x9f{_BIDI}{_SEPARATORS}{_UNSEEN}{_UNDECODABLE}]"
_STRIPPED = rf"(?P<sgr>{_SGR})|(?P<dropped>{_CSI}|{_OSC}|{_STRING}|{_SHORT})|\r+\n|{_CONTROL}"
_SHOWN = rf"(?P<sgr>{_SGR})|\r+\n?|{_CONTROL}"

_STRIPPED_UNFINISHED = (
    rf"(?:\r+|\x1b(?:\[[0-?]{{0,64}}[ -/]{{0,8}}|\][^\x07\x1b\n]{{0,{_STRING_LIMIT}}}\x1b?"
    rf"|[PX^_][^\x1b\n]{{0,{_STRING_LIMIT}}}\x1b?|[ -/]{{0,8}})?)\Z"
)
_SHOWN_UNFINISHED = r"(?:\r+|\x1b(?:\[[0-9;:]{0,64})?)\Z"

_SGR_PARTS = r"\x1b\[([0-9;:]{0,64})m"
_SEGMENTS_LOOKED_AT = 8


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Compiled at first need: `corral ps` starts without, as ordinary names hold nothing to replace."""
    return re.compile(pattern)


def sanitise(data: bytes | str, *, colours: bool = False) -> str:
    """`data` fit for a screen: tabs, new lines and text; with `colours` the SGR sequences too.

    Bytes that are no UTF-8 become U+FFFD, well-formed control sequences go, stray controls become visible.
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
        return "" if found["dropped"] is not None else _visible(found[0])

    return _compiled(_STRIPPED).sub(replace, text)


def make_visible(data: bytes, *, colours: bool = True) -> bytes:
    """`data` for a terminal: nothing hidden and nothing obeyed but tab, new line and, with `colours`, SGR.

    An escape becomes `␛` and what follows it plain text. A lone carriage return ends the line, so that each state of
    a progress bar is a line of its own.
    """
    return _show(data.decode("utf-8", "replace"), colours).encode()


def one_line(data: bytes | str) -> str:
    """`data` as one line without colours: for names, commands and paths. Line breaks become `␤`, tabs blanks."""
    return sanitise(data).replace("\n", "␤").replace("\t", " ")


def _show(text: str, colours: bool) -> str:
    def replace(found: re.Match[str]) -> str:
        if found["sgr"] is None:
            return "\n" if found[0][0] == "\r" else _visible(found[0])
        return found[0] if colours else f"␛{found[0][1:]}"

    return _compiled(_SHOWN).sub(replace, _thin_out(text))


def _thin_out(text: str) -> str:
    """`text` with at most `_MOST_MARKS` characters on top of another: thousands in one cell hold up a terminal."""
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


class Sanitiser:
    """`sanitise` (or, with `visible`, `make_visible`) for a stream: no character or sequence is broken by a chunk's end.

    What is held back between two calls is at most an unfinished sequence of 4 KiB.
    """

    def __init__(self, *, colours: bool = False, visible: bool = False) -> None:
        self._colours = colours
        self._visible = visible
        self._unfinished = _compiled(_SHOWN_UNFINISHED if visible else _STRIPPED_UNFINISHED)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._is_coloured = False

    def feed(self, data: bytes) -> str:
        """As much of the text up to the end of `data` as can be told."""
        text = self._held + self._decoder.decode(data)
        unfinished = self._unfinished.search(text)
        end = len(text) if unfinished is None else unfinished.start()
        self._held = text[end:]
        return self._clean(text[:end])

    def flush(self) -> str:
        """What is left at the end of the stream; resets the colours that it left on."""
        rest = self._clean(self._held + self._decoder.decode(b"", final=True))
        self._held = ""
        reset = "\x1b[0m" if self._is_coloured else ""
        self._is_coloured = False
        return rest + reset

    def _clean(self, text: str) -> str:
        clean = (
            _show(text, self._colours) if self._visible else strip_controls(text, keep_colours=self._colours)
        )
        last = clean.rfind("\x1b[") if self._colours else -1
        if last >= 0:
            self._is_coloured = clean[last + 2 : clean.index("m", last)].strip("0;:") != ""
        return clean


def split_lines(data: bytes) -> list[bytes]:
    """The lines of `data` without their ends, each as a terminal would leave it: see `resolve_returns`."""
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return [resolve_returns(line) for line in lines]


def resolve_returns(line: bytes) -> bytes:
    """What a carriage return leaves of `line`: the last piece with anything to see, such as a progress bar's last state."""
    if b"\r" not in line:
        return line
    pieces = line.rsplit(b"\r", _SEGMENTS_LOOKED_AT)
    return next((piece for piece in reversed(pieces) if sanitise(piece).strip()), b"")


def last_line(data: bytes, *, colours: bool = False) -> str:
    """The last line of `data` with anything to see, for a panel; empty where there is none.

    `data` may begin anywhere: in the middle of a line or of a character.
    """
    end = len(data)
    while end > 0:
        start = data.rfind(b"\n", 0, end) + 1
        line = data[start:end] if start else _from_first_character(data[:end])
        shown = sanitise(resolve_returns(line), colours=colours)
        if shown.strip() and (not colours or strip_controls(shown).strip()):
            return shown.rstrip()
        end = start - 1
    return ""


def _from_first_character(data: bytes) -> bytes:
    """`data` without the up to three continuation bytes of a UTF-8 character that began before it."""
    start = 0
    while start < min(3, len(data)) and data[start] & 0xC0 == 0x80:
        start += 1
    return data[start:]


class Run(NamedTuple):
    """A piece of text and the SGR parameters that stand before it; None where there are none."""

    text: str
    sgr: tuple[int, ...] | None


def split_sgr(text: str) -> list[Run]:
    """`text` (sanitised with colours) cut at its SGR sequences, in order; empty parameters are 0.

    The forms with colons come out as those with semicolons: `38:2::1:2:3` is (38, 2, 1, 2, 3), `4:3` is (4,).
    """
    pieces = _compiled(_SGR_PARTS).split(text)
    runs = [Run(pieces[0], None)] if pieces[0] else []
    for parameters, piece in zip(pieces[1::2], pieces[2::2], strict=True):
        runs.append(Run(piece, tuple(_parameters(parameters))))
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
