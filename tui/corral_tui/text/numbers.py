"""Numbers as short text of fixed width, and text cut to fit. Pure functions; 0 is `0`, unknown is `-`."""

from __future__ import annotations

UNKNOWN = "-"


def cpu(percent: float | None) -> str:
    """CPU in at most 4 characters, 100 is one core: `0` `0.4` `9.8` `99` `780` `1.2k`."""
    if percent is None:
        return UNKNOWN
    return count(percent) if percent >= 999.5 else _two_digits(percent)


def cpu_share(percent: float | None) -> str:
    """CPU with its unit, in at most 5 characters: `99%`; unknown is `-`."""
    return UNKNOWN if percent is None else f"{cpu(percent)}%"


def count(number: float) -> str:
    """A plain number in at most 4 characters, 1000 to the unit: `7` `990` `1.2k` `34k`."""
    return _with_unit(number, 1000, "kMGT")


def size(amount: float | None) -> str:
    """Bytes in at most 5 characters, 1024 to the unit: `0` `96` `812K` `2.1M` `38M` `6.2G`."""
    return UNKNOWN if amount is None else _with_unit(amount, 1024, "KMGTPE")


def rate(amount: float | None) -> str:
    """Bytes per second in at most 7 characters: `0/s` `120/s` `2.4K/s`."""
    return UNKNOWN if amount is None else size(amount) + "/s"


def duration(seconds: float | None) -> str:
    """A duration in at most 6 characters and two units: `0.4s` `12s` `4m10s` `2h03m` `3d04h`."""
    if seconds is None:
        return UNKNOWN
    if seconds <= 0:
        return "0s"
    if seconds < 0.95:
        return f"{max(seconds, 0.1):.1f}s"
    whole = int(seconds)
    if whole < 60:
        return f"{max(whole, 1)}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole // 60 % 60:02}m"
    if whole < 86400 * 100:
        return f"{whole // 86400}d{whole // 3600 % 24:02}h"
    return f"{whole // 86400}d"


def whole_duration(seconds: float | None) -> str:
    """As `duration`, without tenths: for a running time, which counts `0s` `1s` `2s`."""
    if seconds is None:
        return UNKNOWN
    return "0s" if seconds < 1 else duration(int(seconds))


def one_unit(seconds: float) -> str:
    """A duration in its biggest unit alone: `2m` for 2m10s."""
    whole = max(int(seconds), 0)
    for length, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if whole >= length:
            return f"{whole // length}{unit}"
    return f"{whole}s"


def counted(number: int, noun: str) -> str:
    """`1 process`, `12 processes`, `3 stages`."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun}{'es' if noun.endswith('s') else 's'}"


def cells(text: str) -> int:
    """The width of `text` in terminal cells; one line without control characters."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def cut_end(text: str, width: int, ellipsis: str = "…") -> str:
    """`text` in at most `width` cells, its end cut."""
    if cells(text) <= width:
        return text
    room = width - cells(ellipsis)
    return _start_of(text, max(room, 0)) + ellipsis if room >= 0 else ""


def cut_start(text: str, width: int, ellipsis: str = "…") -> str:
    """`text` in at most `width` cells, its start cut."""
    if cells(text) <= width:
        return text
    room = width - cells(ellipsis)
    return ellipsis + _end_of(text, max(room, 0)) if room >= 0 else ""


def cut_middle(text: str, width: int, ellipsis: str = "…") -> str:
    """`text` in at most `width` cells, cut in the middle (`nightly-d…mp`): the end often matters."""
    if cells(text) <= width:
        return text
    room = width - cells(ellipsis)
    if room < 3:
        return cut_end(text, width, ellipsis)
    tail = max(room // 6, 2)
    head = _start_of(text, room - tail)
    return head + ellipsis + _end_of(text, tail)


def left(text: str, width: int, ellipsis: str = "…") -> str:
    """`text` in exactly `width` cells, padded on its right, its end cut."""
    cut = cut_end(text, width, ellipsis)
    return cut + " " * (width - cells(cut))


def right(text: str, width: int) -> str:
    """`text` padded on its left to `width` cells. Longer text is not cut: it is a number."""
    return " " * (width - cells(text)) + text


def _with_unit(amount: float, step: int, units: str) -> str:
    if amount < 999.5:
        return f"{amount:.0f}"
    for unit in units:
        amount /= step
        if amount < 999.5:
            return _two_digits(amount) + unit
    return f"{amount:.0f}{units[-1]}"


def _two_digits(value: float) -> str:
    if value < 0.05:
        return "0"
    return f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


def _start_of(text: str, width: int) -> str:
    if text.isascii():
        return text[:width]
    taken = width
    while taken and cells(text[:taken]) > width:
        taken -= 1
    return text[:taken]


def _end_of(text: str, width: int) -> str:
    if width <= 0:
        return ""
    if text.isascii():
        return text[-width:]
    taken = width
    while taken and cells(text[-taken:]) > width:
        taken -= 1
    return text[-taken:] if taken else ""
