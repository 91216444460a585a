"""What the stop dialog says: the question, the sequence going on, and its end. Pure: reports in, lines out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple, TypeVar

from corral.model.job import Job, ProcessView
from corral.model.reports import StoppedProcess, StopReport, Survivor
from corral_tui.dashboard.paint.job_words import command_words
from corral_tui.dashboard.paint.lines import Line, clean, cut, padded, plain, shown_bar, width_of, wrapped
from corral_tui.text import numbers
from corral_tui.text.charset import Charset, Role
from corral_tui.text.stop_report import ended_counts, ended_sentence

WIDE = 100
"""Columns from which processes are a table, with a line of headings."""
WIDEST = 136
"""Columns from which that of a going stop says where each process is, too. The question has said it."""

Item = TypeVar("Item", ProcessView, StoppedProcess)


def grouped(items: Iterable[Item], key: Callable[[Item], object]) -> list[tuple[Item, ...]]:
    """Runs of alike processes, in the order of their pids: `48310–48313 4 × python`."""
    return [tuple(group) for _, group in groupby(sorted(items, key=lambda item: item.pid), key)]


def pid_words(pids: Sequence[int]) -> str:
    """`48301`, `48310–48313`, or `48310…48340` where others lie between."""
    if len(pids) == 1:
        return str(pids[0])
    joint = "–" if pids[-1] - pids[0] == len(pids) - 1 else "…"
    return f"{pids[0]}{joint}{pids[-1]}"


def _name_words(name: str, count: int) -> str:
    return clean(name) if count == 1 else f"{count} × {clean(name)}"


# ---- the question -------------------------------------------------------------------------------------------------


def is_escaped(where: str) -> bool:
    """Whether a plain kill of the leader's group would miss it."""
    return where not in ("leader", "child")


def process_lines(processes: Sequence[ProcessView], width: int, charset: Charset) -> list[Line]:
    """The processes that will end, alike ones together; those that a plain kill would miss are marked."""
    groups = grouped(processes, lambda one: (one.name, one.stage, one.where, one.is_leader))
    if width >= WIDE:
        heading: Line = [("    " + _columns(TITLES, width - 100) + "NOW", "muted")]
        return [heading, *(_process_row(group, width, charset) for group in groups)]
    return [_short_process_row(group, width, charset) for group in groups]


TITLES = ("PID", "PROCESS", "STAGE", "WHERE")


def _texts(group: Sequence[ProcessView] | Sequence[StoppedProcess], command: str) -> tuple[str, ...]:
    """What stands below `TITLES`; `command` is that of the first."""
    first = group[0]
    name = command_words(command) if len(group) == 1 else _name_words(first.name, len(group))
    stage = "" if first.stage is None else str(first.stage)
    return pid_words([one.pid for one in group]), name, stage, clean(first.where)


def _columns(texts: Sequence[str], width: int) -> str:
    pid, process, stage, where = texts
    return f"{pid:<13} {numbers.left(process, max(width, 18))}  {stage:>5}  {numbers.left(where, 28)} "


def _process_row(group: tuple[ProcessView, ...], width: int, charset: Charset) -> Line:
    first = group[0]
    texts = _texts(group, first.command or first.name)
    role: Role = "accent" if is_escaped(first.where) else "plain"
    line: Line = [("    " + _columns(texts, width - 100), role), (clean(first.does or ""), "muted")]
    return cut(line, width, charset.ellipsis)


def _short_process_row(group: tuple[ProcessView, ...], width: int, charset: Charset) -> Line:
    first = group[0]
    line: Line = [
        (f"   {pid_words([one.pid for one in group]):<12} ", "plain"),
        (numbers.left(_name_words(first.name, len(group)), 16), "plain"),
    ]
    if is_escaped(first.where):
        line.append((" in " + clean(first.where), "accent"))
    elif first.does:
        line.append((" " + clean(first.does), "muted"))
    return cut(line, width, charset.ellipsis)


def plan_words(count: int, stop_signal: str, grace: float) -> str:
    """`TERM to all 9, then after 5 s KILL, until none is left.`"""
    what = "it" if count == 1 else f"all {count}"
    if grace <= 0:
        return f"KILL to {what} at once, until none is left."
    return f"{stop_signal} to {what}, then after {grace_words(grace)} KILL, until none is left."


def grace_words(grace: float) -> str:
    return f"{grace:g} s" if grace < 60 else numbers.duration(grace)


# ---- going on -----------------------------------------------------------------------------------------------------


def sequence_line(report: StopReport, kill_in: float | None, width: int, charset: Charset) -> Line:
    """The bar from the first signal to KILL, in real time."""
    total, left = len(report.processes), len(living(report))
    sent = next((one.signals[0] for one in report.processes if one.signals), "TERM")
    head, tail = f"  {sent} ", " KILL"
    if width >= WIDE:
        head = f"  {sent} sent to {total} "
        tail = " KILL sent" if kill_in is None else f" KILL in {whole_seconds(kill_in)} s"
        tail += f"     {total - left} gone   {left} left"
    grace = report.grace or 0.0
    done = 1.0 if kill_in is None or grace <= 0 else 1 - kill_in / grace
    bar = shown_bar(done, max(width - len(head) - len(tail) - 1, 4), charset)
    return [(head, "plain"), (bar, "accent"), (tail, "plain")]


def whole_seconds(seconds: float) -> int:
    """Seconds to go: `1` until the very end."""
    return max(int(seconds + 0.999), 0)


def living(report: StopReport) -> list[StoppedProcess]:
    return [one for one in report.processes if one.ended_by is None]


class ProcessNotes(NamedTuple):
    """What the process list said: commands and what each does, by pid."""

    commands: Mapping[int, str]
    does: Mapping[int, str]
    reasons: Mapping[int, str] = {}
    """Why the report says that it survives."""


def progress_lines(report: StopReport, known: ProcessNotes, width: int, charset: Charset) -> list[Line]:
    """Each process, ticked off with how it ended; those that are left come last when it is narrow."""
    groups = grouped(
        report.processes, lambda one: (one.name, one.stage, one.where, one.signals, one.ended_by)
    )
    known = known._replace(reasons={one.pid: one.reason for one in report.survivors})
    if width >= WIDE:
        rows = [_wide_row(group, known, width, charset) for group in groups]
        heading = "    " + _progress_columns(TITLES, "SENT", "ENDED", width) + "NOW"
        return [plain(heading, "muted"), *rows]
    groups.sort(key=lambda group: group[0].ended_by is None)
    return [_narrow_row(group, known, width, charset) for group in groups]


def _progress_columns(texts: Sequence[str], sent: str, ended: str, width: int) -> str:
    """All but the last column, which has what is left: 21 cells at 100, 24 and more from WIDEST on."""
    if width >= WIDEST:
        return f"{_columns(texts, width - 126)}{numbers.left(sent, 10)} {numbers.left(ended, 26)} "
    pid, process, stage, _ = texts
    name = numbers.left(process, 14 + (width - WIDE) // 2)
    return f"{pid:<13} {name}  {stage:>5}  {numbers.left(sent, 10)} {numbers.left(ended, 26)} "


def _wide_row(group: tuple[StoppedProcess, ...], known: ProcessNotes, width: int, charset: Charset) -> Line:
    first = group[0]
    texts = _texts(group, known.commands.get(first.pid, first.name))
    line: Line = [
        ("    " + _progress_columns(texts, "+".join(first.signals), _end_words(group), width), "plain"),
        *_now(first, known, charset),
    ]
    return cut(line, width, charset.ellipsis)


def _narrow_row(group: tuple[StoppedProcess, ...], known: ProcessNotes, width: int, charset: Charset) -> Line:
    first = group[0]
    mark = charset.succeeded if first.ended_by else charset.ellipsis
    role: Role = "success" if first.ended_by else "accent"
    name = f"{pid_words([one.pid for one in group])} {_name_words(first.name, len(group))}"
    line: Line = [
        (f" {mark} ", role),
        (numbers.left(name, min(24, width // 2 - 2)), "plain"),
        (f" {numbers.left('+'.join(first.signals), 6)} ", "muted"),
    ]
    if first.ended_by:
        line.append((_end_words(group), "plain"))
    else:
        line.append((_still_words(first, known), "accent"))
    return cut(line, width, charset.ellipsis)


def _now(one: StoppedProcess, known: ProcessNotes, charset: Charset) -> Line:
    if one.ended_by:
        return [(charset.succeeded, "success"), (" gone", "muted")]
    return [(f"{charset.ellipsis} {_still_words(one, known)}", "accent")]


def _still_words(one: StoppedProcess, known: ProcessNotes) -> str:
    """What it does instead of ending, as seen a moment ago; else the reason that the report gives."""
    does = known.does.get(one.pid)
    if does:
        return f"ignores it: {clean(does)}" if one.signals else clean(does)
    return clean(known.reasons.get(one.pid, "")) or "still there"


def _end_words(group: tuple[StoppedProcess, ...]) -> str:
    """`after 0.3 s, exit 2`; of several the time of the last."""
    first = group[0]
    if first.ended_by is None:
        return ""
    times = [one.seconds for one in group if one.seconds is not None]
    when = f"after {max(times):.1f} s" if times else ""
    how = {"itself": "by itself" if len(group) == 1 else "by themselves"}.get(first.ended_by, first.ended_by)
    if how in first.signals and len(first.signals) == 1:
        how = ""
    return ", ".join(word for word in (when, clean(how)) if word)


# ---- the end ------------------------------------------------------------------------------------------------------


def ending_sentence(report: StopReport) -> str:
    """`Nothing of it is left. 9 processes: 5 by TERM, 3 by themselves, 1 by KILL.`"""
    if report.note and not report.processes:
        return f"Nothing of it is left: {clean(report.note)}."
    return f"Nothing of it is left. {ended_sentence(report.processes)}".rstrip()


def looked_words(report: StopReport) -> str | None:
    if report.looked_at is None:
        return None
    return f"looked at {report.looked_at.astimezone():%H:%M:%S}, over every process of this machine"


def survivor_lines(report: StopReport, width: int) -> list[Line]:
    """The processes that cannot be killed or may not belong to the job, each with the reason."""
    lines: list[Line] = []
    for one in report.left:
        head = plain(f" ! {one.pid} {clean(one.name)}  ", "alert")
        lines += wrapped(survivor_words(one), width, indent="", hanging="   ", lead=head)
    if report.survivors:
        lines.append(plain(" Nothing else is left. Corral goes on looking."))
    else:
        lines.append(plain(" Of what is proven to be of it nothing is left."))
    return lines


def survivor_words(one: Survivor) -> str:
    blocked = f" in {clean(one.blocked_in)}" if one.blocked_in else ""
    if one.state == "D":
        return f"is blocked in the kernel (state D){blocked}: {clean(one.reason)}"
    return f"{clean(one.reason)}{blocked}"


# ---- several ------------------------------------------------------------------------------------------------------


def job_names(jobs: Sequence[Job], width: int) -> list[Line]:
    """`212 enc-0212   213 enc-0213 …` on as many lines as they need."""
    lines: list[Line] = []
    current: Line = []
    for job in jobs:
        piece = f"   {job.id} {numbers.cut_middle(clean(job.title), 24)}"
        if current and width_of(current) + numbers.cells(piece) > width:
            lines.append(current)
            current = []
        current = [*current, (piece, "plain")]
    return [*lines, current] if current else lines


def report_line(report: StopReport, title: str, width: int, charset: Charset) -> Line:
    """One job of several: how far its stop is, or how it ended."""
    name = f" {report.id:>4} {numbers.left(numbers.cut_middle(title, 20), 20)} "
    if report.nothing_is_left:
        counts = ended_counts(report.processes) or clean(report.note or "nothing ran")
        line: Line = [
            (f" {charset.succeeded}", "success"),
            (name, "plain"),
            (f"nothing is left: {counts}", "muted"),
        ]
    elif report.left and report.kill_in is None:
        line = [(" !", "alert"), (name, "plain"), (survivor_words(report.left[0]), "accent")]
    else:
        left = len(living(report))
        when = "KILL sent" if report.kill_in is None else f"KILL in {whole_seconds(report.kill_in)} s"
        words = f"{len(report.processes) - left} gone, {left} left, {when}"
        line = [(f" {charset.ellipsis}", "accent"), (name, "plain"), (words, "plain")]
    return padded(line, width, charset.ellipsis)
