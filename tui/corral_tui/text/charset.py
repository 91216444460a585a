"""Marks, words and style roles of a job's status; sparks and bars. Text and roles only: no widget, no colour.

Colour is a second channel: each mark differs in its glyph or its word, and what matters most is reverse or bold.
"""

from __future__ import annotations

import locale
import os
from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from corral.model.job import Job
from corral_tui.text.numbers import duration, one_unit, whole_duration

Role = Literal[
    "plain",
    "bold",
    "muted",
    "success",
    "accent",
    "warning",
    "alert",
    "alert-edge",
    "error",
    "error-alert",
    "title",
    "rule",
    "rule-selected",
    "rule-stuck",
    "cursor",
    "marked",
    "key",
    "spark",
]
"""What a piece of text means; `styles.py` says what it looks like."""

RoleSpan = tuple[str, Role]

SPARK_CELL_SECONDS = 5.0
CPU_FLOOR = 10.0
"""Percent of a core: a spark's full height is never less, so that noise does not look like mountains."""
MEMORY_FLOOR = 16 << 20
OUTPUT_FLOOR = 1024.0


class Charset(NamedTuple):
    """The glyphs of a terminal; by default those of one that can show Unicode."""

    name: Literal["unicode", "ascii"] = "unicode"
    active: str = "●"
    waiting: str = "○"
    unknown: str = "◌"
    queued: str = "·"
    paused: str = "‖"
    stopping: str = "■"
    succeeded: str = "✓"
    failed: str = "✗"
    lost: str = "?"
    stuck: str = "!"
    stuck_edges: tuple[str, str] = ("▐", "▌")
    bottleneck: str = "◆"
    bar_edges: tuple[str, str] = ("▕", "▏")
    bar_full: str = "█"
    bar_rest: str = "░"
    sparks: str = "▁▂▃▄▅▆▇█"
    flows_to: str = "▸"
    ellipsis: str = "…"
    rule: str = "─"
    heavy_rule: str = "━"
    frame: str = "╭╮╯╰│"
    """Corners from top left clockwise, then the vertical."""
    heavy_frame: str = "┏┓┛┗┃"
    track: str = "│"
    thumb: str = "┃"
    cursor: str = "▌"
    back: str = "‹"
    menu: str = "▾"
    menu_up: str = "▴"
    dash: str = "—"
    dot: str = "·"
    up: str = "↑"
    down: str = "↓"
    arrow: str = "→"
    at_most: str = "≤"
    """Before a number that is only a bound."""
    goes_on: str = "┊"
    """Before a row that goes on with the line above it."""


UNICODE = Charset()
ASCII = Charset(
    name="ascii",
    active="*",
    waiting="o",
    unknown="~",
    queued=".",
    paused="=",
    stopping="#",
    succeeded="v",
    failed="x",
    stuck_edges=("!", "!"),
    bottleneck="<>",
    bar_edges=("|", "|"),
    bar_full="#",
    bar_rest=".",
    sparks=".:-=#",
    flows_to=">",
    ellipsis="~",
    rule="-",
    heavy_rule="=",
    frame="++++|",
    heavy_frame="++++|",
    track=":",
    thumb="|",
    cursor=">",
    back="<",
    menu="v",
    menu_up="^",
    dash="-",
    dot="|",
    up="^",
    down="v",
    arrow="->",
    at_most="<=",
    goes_on="|",
)


def charset_of_terminal() -> Charset:
    """ASCII on the Linux console (its font lacks most of our glyphs) and where the locale is not UTF-8."""
    if os.environ.get("TERM") in ("linux", "dumb"):
        return ASCII
    try:
        # LC_ALL, LC_CTYPE and LANG, in this order (setlocale(3)); Python's UTF-8 mode would hide them.
        encoding = locale.getencoding()
    except (LookupError, ValueError):
        return ASCII
    return UNICODE if encoding.lower().replace("-", "") in ("utf8", "cp65001") else ASCII


class Status(NamedTuple):
    """What a job does, as a mark and words."""

    mark: str
    mark_role: Role
    word: str
    role: Role
    short: str
    """The words without a number that counts: `paused` of `paused 1m`."""
    since: datetime | None = None
    """Since when it is so, where that counts."""

    @property
    def is_stuck(self) -> bool:
        return self.mark_role == "alert"


_STATUSES: dict[str, tuple[str, Role, str, Role]] = {
    "queued": ("queued", "muted", "queued", "muted"),
    "running": ("unknown", "muted", "running", "muted"),
    "active": ("active", "success", "active", "plain"),
    "waiting": ("waiting", "muted", "waiting", "plain"),
    "stuck": ("stuck", "alert", "STUCK", "alert"),
    "paused": ("paused", "accent", "paused", "plain"),
    "stopping": ("stopping", "accent", "stopping", "plain"),
    "succeeded": ("succeeded", "muted", "succeeded", "muted"),
    "failed": ("failed", "error", "failed", "error"),
    "stopped": ("stopping", "muted", "stopped", "muted"),
    "ended as stuck": ("failed", "error", "was stuck", "error"),
    "timed_out": ("failed", "error", "timed out", "error"),
    "lost": ("lost", "error", "lost", "error"),
}
"""SCREENS' table of marks and words by state, and by health while a job runs: the mark's name in a `Charset`, and its role;
the words, and theirs."""


def mark_of(state: str, charset: Charset) -> str:
    """The mark of a job in that state."""
    mark: str = getattr(charset, _STATUSES[state][0])
    return mark


def status_of(job: Job, now: datetime, charset: Charset) -> Status:
    kind: str = (job.health or job.state) if job.state == "running" else job.state
    if job.was_ended_as_stuck:
        kind = "ended as stuck"
    _, mark_role, short, role = _STATUSES[kind]
    word, since = short, None
    if kind == "failed" and job.exit_status is not None:
        word = f"failed {job.exit_status}"
    elif kind == "stuck":
        since = job.health_since
    elif kind == "stopping" and job.stopping is not None:
        since = job.stopping.since
    counted_from = job.paused_since if kind == "paused" else since
    if counted_from is not None:
        word = f"{short} {one_unit((now - counted_from).total_seconds())}"
    return Status(mark_of(kind, charset), mark_role, word, role, short, since)


def time_of(job: Job, now: datetime) -> str:
    """How long it runs, or ran; blank before it started. The snapshot's `elapsed` is as old as its last change."""
    if job.started is None:
        return ""
    if job.is_ended:
        return "" if job.elapsed is None else duration(job.elapsed)
    return whole_duration((now - job.started).total_seconds())


def stuck_label(charset: Charset) -> list[RoleSpan]:
    """`▐STUCK▌`: reversed, seen from two metres on any terminal."""
    before, after = charset.stuck_edges
    if charset.name == "ascii":
        return [(f"{before}STUCK{after}", "alert")]
    return [(before, "alert-edge"), ("STUCK", "alert"), (after, "alert-edge")]


def sparks(values: Sequence[float | None], width: int, floor: float, charset: Charset) -> str:
    """The last `width` values, each a glyph of `charset`, scaled to the biggest of them but never below `floor`.

    What was not measured, and what lies before the first value, is blank.
    """
    shown = values[-width:] if width > 0 else ()
    top = max(floor, max((value for value in shown if value is not None), default=0.0))
    levels = charset.sparks
    drawn = "".join(" " if value is None else levels[_level(value, top, len(levels))] for value in shown)
    return drawn.rjust(width)


def _level(value: float, top: float, levels: int) -> int:
    return min(max(int(value / top * levels), 0), levels - 1)


def bar(filled: float | None, width: int, charset: Charset) -> str:
    """A bar of `width` cells between its edges, `filled` from 0 to 1; None is drawn empty.

    Anything above 0 fills one cell at least, and anything below 1 leaves one: full means full.
    """
    taken = 0
    if filled is not None and width > 0:
        taken = round(min(max(filled, 0.0), 1.0) * width)
        if filled > 0.02:
            taken = max(taken, 1)
        if filled < 0.98:
            taken = min(taken, width - 1)
    before, after = charset.bar_edges
    return before + charset.bar_full * taken + " " * (width - taken) + after
