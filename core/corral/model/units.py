"""Durations, sizes, signals, names and words: how people write them, read and written in one place."""

from __future__ import annotations

import math
import re
import signal
from collections.abc import Iterable, Sequence
from functools import cache

from corral.model.errors import UsageError, brief_repr

_UNIT_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_UNIT_ORDER = tuple(_UNIT_SECONDS)
LONGEST_SECONDS = 36500 * 86400.0
"""A hundred years: beyond it, sums with a date overflow."""
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)(ms|[dhms])")
_PLAIN_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]+)?|\.[0-9]+")

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)\s*([KMGT]?)(i?B)?", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_LARGEST_SIZE = 1 << 62
"""Below the largest off_t, so that a sum of two fits."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_LIKE_A_JOB_OF_A_BATCH = re.compile(r".*\.[0-9]+")
_PLAIN_WORD = re.compile(r"(?:[\w@%+=:,./-]|\{(?:[#%]|(?:-?[1-9]\d*)?(?:\.|//?|/\.)?)\})+")
"""Braces as in a command for many inputs, such as `{}` or `{1.}`, mean nothing to sh."""
_REAL_TIME = re.compile(r"(RTMIN|RTMAX)(?:([+-])([0-9]{1,3}))?")

RESERVED_WORDS = frozenset(
    (
        "!",
        "{",
        "}",
        "case",
        "do",
        "done",
        "elif",
        "else",
        "esac",
        "fi",
        "for",
        "if",
        "in",
        "then",
        "until",
        "while",
        "[[",
        "function",
        "select",
        "coproc",
    )
)
"""Words that are syntax for sh or bash in place of a program's name (POSIX.1-2017, 2.4)."""


def parse_duration(text: str) -> float:
    """Seconds of `500ms 0.1s 90 2m 1h30m 1d`; a number alone is seconds.

    Raises:
        UsageError: for anything else, and beyond a hundred years.
    """
    seconds = _seconds_of(text.strip())
    if seconds is None:
        raise UsageError(
            f"not a duration: {brief_repr(text)}: write it like 500ms, 0.1s, 90, 2m, 1h30m or 1d"
        )
    if not seconds <= LONGEST_SECONDS:
        raise UsageError(f"duration too long: {brief_repr(text)}: at most 36500d")
    return seconds


def _seconds_of(text: str) -> float | None:
    if _PLAIN_SECONDS.fullmatch(text):
        return float(text)
    total, end, last_unit = 0.0, 0, -1
    for part in _PART.finditer(text):
        unit = _UNIT_ORDER.index(part[2])
        is_last = part.end() == len(text)
        if part.start() != end or unit <= last_unit or ("." in part[1] and not is_last):
            return None
        total += float(part[1]) * _UNIT_SECONDS[part[2]]
        end, last_unit = part.end(), unit
    return total if end and end == len(text) else None


def format_duration(seconds: float) -> str:
    """`seconds` in the form that `parse_duration` reads, such as `5m`, `2m10s`, `0.1s`, `50ms`.

    Exact to the millisecond. A negative or not finite number is shown as `0s`: a clock that was set back.
    """
    if not math.isfinite(seconds) or seconds <= 0:
        return "0s"
    milliseconds = round(seconds * 1000)
    if milliseconds < 100:
        return f"{milliseconds}ms" if milliseconds else "0s"
    whole, thousandths = divmod(milliseconds, 1000)
    parts: list[str] = []
    for unit in ("d", "h", "m"):
        count, whole = divmod(whole, int(_UNIT_SECONDS[unit]))
        if count:
            parts.append(f"{count}{unit}")
    if whole or thousandths:
        fraction = f".{thousandths:03}".rstrip("0") if thousandths else ""
        parts.append(f"{whole}{fraction}s")
    return "".join(parts)


def parse_size(text: str) -> int:
    """Bytes of `4096`, `64K`, `1.5G`; `K`, `KiB` are 1,024 and `kB` is 1,000, as the GNU tools have it.

    Raises:
        UsageError: for anything else, and beyond 4 EiB.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"not a size: {text!r}: write it like 4096, 64K, 100M or 1.5G")
    number, unit, suffix = found.groups()
    base: int = 1000 if unit and (suffix or "").upper() == "B" else 1024
    size = int(float(number) * base ** _POWERS[unit.upper()])
    if size > _LARGEST_SIZE:
        raise UsageError(f"size too large: {text!r}: at most 4194304T")
    return size


def format_size(size: int) -> str:
    """A size as it can be written, shortest form: `64K`, `1G`, else the bytes."""
    for unit, power in reversed(_POWERS.items()):
        if power and size and size % 1024**power == 0:
            return f"{size // 1024**power}{unit}"
    return str(size)


def parse_signal(text: str) -> int:
    """The number of a signal written `HUP`, `SIGHUP`, `hup`, `1` or `RTMIN+2`.

    Raises:
        UsageError: for an unknown signal, for 0, and for a number that this system has no signal for.
    """
    wanted = text.strip().upper()
    if wanted.isascii() and wanted.isdigit():
        number = int(wanted) if len(wanted) < 4 else 0
    else:
        number = _number_of_name(wanted.removeprefix("SIG"))
    if number in _valid_signals():
        return number
    raise UsageError(f"no such signal: {brief_repr(text)}: {_signal_hint(wanted.removeprefix('SIG'))}")


@cache
def _valid_signals() -> frozenset[int]:
    """Cached: creating the 64 enum members takes 0.1 ms, and every process to be stopped asks."""
    return frozenset(map(int, signal.valid_signals()))


def _number_of_name(name: str) -> int:
    """0 if no signal has this name."""
    member = signal.Signals.__members__.get(f"SIG{name}")
    if member is not None:
        return int(member)
    real_time = _REAL_TIME.fullmatch(name)
    if real_time is None or not hasattr(signal, "SIGRTMIN"):
        return 0
    base = int(signal.Signals[f"SIG{real_time[1]}"])
    offset = int(real_time[3] or 0)
    number = base - offset if real_time[2] == "-" else base + offset
    return number if signal.SIGRTMIN <= number <= signal.SIGRTMAX else 0


def _signal_hint(name: str) -> str:
    from difflib import get_close_matches

    known = [member.removeprefix("SIG") for member in signal.Signals.__members__]
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]}?"
    return f"write a name such as TERM, INT or HUP, or a number from 1 to {max(signal.valid_signals())}"


def signal_name(number: int) -> str:
    """`TERM` for 15, `RTMIN+3` for a real-time signal; the number itself if it has no name."""
    first_real_time = getattr(signal, "SIGRTMIN", None)
    if first_real_time is not None and first_real_time < number <= signal.SIGRTMAX:
        return f"RTMIN+{number - first_real_time}"
    try:
        return signal.Signals(number).name.removeprefix("SIG")
    except ValueError:
        return str(number)


def check_name(text: str) -> str:
    """`text`, if it can be the name of a job.

    Raises:
        UsageError: unless it is a letter and then at most 63 letters, digits, `_`, `.` or `-`.
    """
    if _NAME.fullmatch(text):
        return text
    raise UsageError(
        f"not a name for a job: {brief_repr(text)}: a letter, then up to 63 letters, digits, dots, dashes or underscores"
    )


def check_new_name(text: str) -> str:
    """The same for a job that is started now: earlier ones may have names that mean a job of a batch today.

    Raises:
        UsageError: as `check_name`, and where it ends in a dot and digits.
    """
    if _LIKE_A_JOB_OF_A_BATCH.fullmatch(check_name(text)):
        raise UsageError(
            f"not a name for a job: {brief_repr(text)}: what ends in a dot and digits is the job of an input"
        )
    return text


def quote(argv: Sequence[str]) -> str:
    """`argv` as a command line that Corral's parser and sh both read back as the same words."""
    if not argv:
        return ""
    return " ".join([_quote_program(argv[0]), *quote_words(argv[1:])])


def quote_words(words: Iterable[str]) -> list[str]:
    """Each word quoted if necessary. Not for the first word of a command: see `quote`."""
    return [word if _is_plain(word) else _in_single_quotes(word) for word in words]


def _quote_program(word: str) -> str:
    """A first word with `=` would be read as an assignment, and `if` as syntax."""
    if _is_plain(word) and "=" not in word and word not in RESERVED_WORDS:
        return word
    return _in_single_quotes(word)


def _is_plain(word: str) -> bool:
    return _PLAIN_WORD.fullmatch(word) is not None


def _in_single_quotes(word: str) -> str:
    """A single quote inside is written by closing the quotes, escaping it, and opening them again."""
    return "'" + word.replace("'", "'\\''") + "'"
