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
    """The glyphs of a terminal."""

    name: Literal["unicode", "ascii"]
    active: str
    waiting: str
    unknown: str
    queued: str
    paused: str
    stopping: str
    succeeded: str
    failed: str
    lost: str
    stuck: str
    stuck_edges: tuple[str, str]
    bottleneck: str
    bar_edges: tuple[str, str]
    bar_full: str
    bar_empty: str
    bar_rest: str
    sparks: str
    flows_to: str
    ellipsis: str
    rule: str
    heavy_rule: str
    frame: str
    """Corners from top left clockwise, then the vertical."""
    heavy_frame: str
    track: str
    thumb: str
    cursor: str
    back: str
    menu: str
    menu_up: str
    dash: str
    dot: str
    up: str
    down: str
    arrow: str
    at_most: str
    """Before a number that is only a bound."""
    goes_on: str
    """Before a row that goes on with the line above it."""


UNICODE = Charset(
    name="unicode",
    active="●",
    waiting="○",
    unknown="◌",
    queued="·",
    paused="‖",
    stopping="■",
    succeeded="✓",
    failed="✗",
    lost="?",
    stuck="!",
    stuck_edges=("▐", "▌"),
    bottleneck="◆",
    bar_edges=("▕", "▏"),
    bar_full="█",
    bar_empty=" ",
    bar_rest="░",
    sparks="▁▂▃▄▅▆▇█",
    flows_to="▸",
    ellipsis="…",
    rule="─",
    heavy_rule="━",
    frame="╭╮╯╰│",
    heavy_frame="┏┓┛┗┃",
    track="│",
    thumb="┃",
    cursor="▌",
    back="‹",
    menu="▾",
    menu_up="▴",
    dash="—",
    dot="·",
    up="↑",
    down="↓",
    arrow="→",
    at_most="≤",
    goes_on="┊",
)

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
    lost="?",
    stuck="!",
    stuck_edges=("!", "!"),
    bottleneck="<>",
    bar_edges=("|", "|"),
    bar_full="#",
    bar_empty=" ",
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


def status_of(job: Job, now: datetime, charset: Charset) -> Status:
    """The status of a job, one of SCREENS' table of marks and words."""
    if job.state == "running":
        return _running(job, now, charset)
    if job.state == "paused":
        return Status(
            charset.paused, "accent", _with_time("paused", job.paused_since, now), "plain", "paused"
        )
    if job.state == "stopping":
        since = job.stopping.since if job.stopping else None
        return Status(
            charset.stopping, "accent", _with_time("stopping", since, now), "plain", "stopping", since
        )
    if job.state == "queued":
        return Status(charset.queued, "muted", "queued", "muted", "queued")
    return _ended(job, charset)


def _running(job: Job, now: datetime, charset: Charset) -> Status:
    if job.health == "stuck":
        return Status(
            charset.stuck,
            "alert",
            _with_time("STUCK", job.health_since, now),
            "alert",
            "STUCK",
            job.health_since,
        )
    if job.health == "waiting":
        return Status(charset.waiting, "muted", "waiting", "plain", "waiting")
    if job.health == "active":
        return Status(charset.active, "success", "active", "plain", "active")
    return Status(charset.unknown, "muted", "running", "muted", "running")


def _ended(job: Job, charset: Charset) -> Status:
    if job.state == "succeeded":
        return Status(charset.succeeded, "muted", "succeeded", "muted", "succeeded")
    if job.was_ended_as_stuck:
        return Status(charset.failed, "error", "was stuck", "error", "was stuck")
    if job.state == "stopped":
        return Status(charset.stopping, "muted", "stopped", "muted", "stopped")
    if job.state == "timed_out":
        return Status(charset.failed, "error", "timed out", "error", "timed out")
    if job.state == "lost":
        return Status(charset.lost, "error", "lost", "error", "lost")
    word = "failed" if job.exit_status is None else f"failed {job.exit_status}"
    return Status(charset.failed, "error", word, "error", "failed")


def time_of(job: Job, now: datetime) -> str:
    """How long it runs, or ran; blank before it started. The snapshot's `elapsed` is as old as its last change."""
    if job.started is None:
        return ""
    if job.is_ended:
        return "" if job.elapsed is None else duration(job.elapsed)
    return whole_duration((now - job.started).total_seconds())


def _with_time(word: str, since: datetime | None, now: datetime) -> str:
    return word if since is None else f"{word} {one_unit((now - since).total_seconds())}"


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


def bar(filled: float | None, width: int, charset: Charset, *, shows_rest: bool = False) -> str:
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
    rest = charset.bar_rest if shows_rest else charset.bar_empty
    return before + charset.bar_full * taken + rest * (width - taken) + after
