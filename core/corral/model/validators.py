"""Validators of option values: each describes what it accepts, converts it, and refuses the rest with the option's name.

For values from programs, which may be of any type. The daemon has the same bounds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from msgspec import Struct

from corral.model.errors import UsageError, WrongTypeError, brief_repr
from corral.model.units import LONGEST_SECONDS, check_name, check_new_name, parse_signal, signal_name
from corral.model.wire import to_wire

LEAST_OUTPUT = 64 << 10
"""Holes are punched in whole blocks of the file system; a smaller cap would have little effect."""
MOST_OUTPUT = 1 << 60
"""Offsets in files have 63 bits."""
MOST_PARALLEL = MOST_KEPT = 1 << 31

T = TypeVar("T")


class Validator(Struct, Generic[T], frozen=True):
    """Called with the name of an option and its value: returns the converted value, or raises UsageError.

    `read` raises TypeError or ValueError for what is not `expected`, or UsageError with a better message.
    """

    expected: str
    read: Callable[[Any], T]
    is_secret: bool = False
    """Then errors show only the type of the value."""

    def __call__(self, name: str, value: object) -> T:
        try:
            return self.read(value)
        except UsageError as error:
            raise type(error)(f"{name}: {error}") from None
        except TypeError:
            raise WrongTypeError(self._refusal(name, value)) from None
        except ValueError:
            raise UsageError(self._refusal(name, value)) from None

    def _refusal(self, name: str, value: object) -> str:
        given = f" of type {type(value).__name__}" if self.is_secret else f"={brief_repr(value)}"
        return f"{name}{given}: expected {self.expected}"


def or_none(kind: Validator[T], meaning: str) -> Validator[T | None]:
    return Validator(
        f"{kind.expected}, or None {meaning}",
        lambda value: None if value is None else kind.read(value),
        kind.is_secret,
    )


def choice(*words: str) -> Validator[str]:
    def read(value: object) -> str:
        return words[words.index(_text(value))]

    return Validator(" or ".join(map(repr, words)), read)


def whole_number(least: int, most: int, what: str) -> Validator[int]:
    """An integer within these bounds, which `what` describes."""

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError
        if not least <= value <= most:
            raise ValueError
        return int(value)

    return Validator(what, read)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _seconds(value: object) -> float:
    # bool is an int, and NaN is neither below nor above anything.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    if not 0 <= value <= LONGEST_SECONDS:
        raise ValueError
    return float(value)


def _above_zero(value: object) -> float:
    seconds = _seconds(value)
    if not seconds:
        raise ValueError
    return seconds


def _sendable(value: object) -> str:
    """A plain str, also for a subclass, which the JSON encoder does not accept."""
    if not isinstance(value, str):
        raise TypeError
    if not value.isascii():
        to_wire(value).encode()  # UnicodeEncodeError, a ValueError, for surrogates that no system gave
    return str.__str__(value)


def _text(value: object) -> str:
    """Text that can also be passed to the system."""
    text = _sendable(value)
    if "\0" in text:
        raise ValueError
    return text


def _path(value: object) -> str:
    if not isinstance(value, str | os.PathLike):
        raise TypeError
    path = _text(os.fspath(value))
    if not path:
        raise ValueError
    return path


def _job_id(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 63:
        return str(int(value))
    text = _sendable(value)
    if not text:
        raise ValueError
    return to_wire(text)


def _signal(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(int(value))
    return signal_name(parse_signal(_text(value)))


def _environment(value: object) -> dict[str, str]:
    """Errors do not show values: they may be secrets."""
    if not isinstance(value, Mapping):
        raise TypeError
    variables = {}
    for name, content in dict(value).items():
        try:
            variables[_text(name)] = _text(content)
        except TypeError:
            kind = type(content if isinstance(name, str) else name).__name__
            what = "the value of" if isinstance(name, str) else "the name"
            raise WrongTypeError(f"{what} {brief_repr(name)} is of type {kind}: expected a str") from None
        except ValueError:
            raise UsageError(f"{brief_repr(name)} or its value is not {TEXT.expected}") from None
    return variables


def _bytes(value: object) -> bytes:
    """bytes as they are, else a copy."""
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError
    return bytes(value)


FLAG = Validator("True or False", _flag)
SECONDS = Validator("seconds, a number from 0 to 36500 days", _seconds)
OWN_SECONDS = or_none(SECONDS, "for the job's own")
PATIENCE = or_none(SECONDS, "to wait for as long as it takes")
TIME_LIMIT = or_none(Validator("seconds, a number above 0 and up to 36500 days", _above_zero), "for no limit")
SIGNAL = Validator("the name or number of a signal, such as 'TERM' or signal.SIGTERM", _signal)
OWN_SIGNAL = or_none(SIGNAL, "for the job's own")
NAME = or_none(Validator("a name", lambda value: check_name(_text(value))), "for none")
NEW_NAME = or_none(Validator("a name", lambda value: check_new_name(_text(value))), "for none")
TEXT = Validator("text without NUL and lone surrogates", _text)
PATH = Validator("a path: a str or an os.PathLike of one, not empty", _path)
JOB_ID = Validator("the number of a job, its name, or '@' for the newest", _job_id)
ENVIRONMENT = or_none(
    Validator("a mapping of str to str, such as {**os.environ, 'LANG': 'C'}", _environment, is_secret=True),
    "for this program's",
)
BYTES = Validator("bytes, a bytearray or a memoryview; of text its .encode()", _bytes, is_secret=True)
STAGE = whole_number(1, 1 << 31, "the number of a stage, from 1 on")
ONE_STAGE = or_none(STAGE, "for all of them")
PARALLEL = or_none(
    whole_number(1, MOST_PARALLEL, "how many jobs may run at a time, from 1 on"), "for any number"
)
AGE = or_none(SECONDS, "for any age")
KEEP = or_none(whole_number(0, MOST_KEPT, "how many jobs to keep, from 0 on"), "for no such number")
OUTPUT_BYTES = or_none(
    whole_number(LEAST_OUTPUT, MOST_OUTPUT, f"bytes, a whole number from {LEAST_OUTPUT} (64 KiB) on"),
    "to keep all",
)
