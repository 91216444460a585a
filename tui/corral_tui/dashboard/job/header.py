"""The two lines at the top of an opened job. Pure: a job in, lines out."""

from __future__ import annotations

from datetime import datetime

from corral.client.snapshot import Snapshot
from corral.model.job import ENDED_STATES, Job
from corral.model.units import format_duration
from corral.model.urgency import is_stuck
from corral_tui.dashboard.frame.actions import PANES
from corral_tui.dashboard.paint.job_words import end_reason
from corral_tui.dashboard.paint.lines import Line, clean, cut, plain, spread
from corral_tui.text import numbers
from corral_tui.text.charset import Charset, status_of, stuck_label, time_of

WIDE = 120

ORIGINS = {
    "command_line": "from the command line",
    "dashboard": "from a dashboard",
    "library": "by a program",
}


def head_lines(
    job: Job, snapshot: Snapshot, now: datetime, said: str | None, width: int, charset: Charset
) -> list[Line]:
    """What it is and how it does; then its command, or what was just said."""
    first = spread(
        _identity(job, now, width, charset), _numbers(job, snapshot, width, charset), width, charset.ellipsis
    )
    if said is not None:
        return [first, cut([(" " + clean(said), "accent")], width, charset.ellipsis)]
    command = plain(" " + clean(job.command))
    if width < WIDE:
        return [first, cut(command, width, charset.ellipsis)]
    circumstances = plain("   ".join(_circumstances(job)) + " ", "muted")
    return [first, spread(command, circumstances, width, charset.ellipsis)]


def _identity(job: Job, now: datetime, width: int, charset: Charset) -> Line:
    status = status_of(job, now, charset)
    name = numbers.cut_middle(clean(job.title), 32 if width >= WIDE else 16, charset.ellipsis)
    line: Line = [
        (f" {charset.back} ", "key"),
        ("esc   " if width >= WIDE else "", "muted"),
        (f"{job.id} {name}  ", "title"),
    ]
    if status.is_stuck:
        line += [*stuck_label(charset), (status.word.removeprefix("STUCK"), "warning")]
    else:
        line += [(f"{status.mark} ", status.mark_role), (status.word, status.role)]
    return [*line, (f"  {time_of(job, now)}", "plain")]


def _numbers(job: Job, snapshot: Snapshot, width: int, charset: Charset) -> Line:
    if job.state in ENDED_STATES:
        line = _end_words(job, width, charset)
    else:
        words = [f"cpu {numbers.cpu_share(job.cpu_percent)}", f"mem {numbers.size(job.memory_bytes)}"]
        if width >= WIDE:
            words += [
                numbers.counted(job.processes, "process"),
                f"out {numbers.rate(job.output_bytes_per_second)}",
            ]
        elif width >= 60:
            words.append(f"{job.processes} proc{'' if job.processes == 1 else 's'}")
        line = plain(("   " if width >= WIDE else "  ").join(words), "plain")
    return [*line, *_others(job, snapshot, width)]


def _end_words(job: Job, width: int, charset: Charset) -> Line:
    status = "-" if job.exit_status is None else str(job.exit_status)
    words = f"exit {status}"
    # The whole reason stands in the panes; here it leaves room for the rest of the line.
    reason = numbers.cut_end(end_reason(job, is_behind_status=True) or "", width * 2 // 5, charset.ellipsis)
    if reason and width >= 60:
        words = f"{reason}   {words}" if width >= WIDE else reason
    line = plain(words, "muted" if job.state in ("succeeded", "stopped") else "error")
    if job.leftovers:
        line = [*line, (f"   {job.leftovers} left behind", "warning")]
    return [*line, (f"   {job.in_doubt} in doubt", "warning")] if job.in_doubt else line


def _others(job: Job, snapshot: Snapshot, width: int) -> Line:
    """The place among the jobs, and how many others are stuck."""
    line: Line = []
    ids = [each.id for each in snapshot.jobs.values() if not each.hidden or each.id == job.id]
    if width >= WIDE and job.id in ids:
        line.append((f"      job {ids.index(job.id) + 1} of {len(ids)}", "muted"))
    stuck = sum(is_stuck(each) for each in snapshot.jobs.values())
    if stuck and width >= 60:
        line += [("  ", "plain"), (f"[{stuck} STUCK]", "alert"), (" !", "key")]
    return [*line, (" ", "plain")]


def _circumstances(job: Job) -> list[str]:
    words = [f"in {clean(job.cwd)}"]
    started = job.started or job.created
    words.append(f"started {started.astimezone():%H:%M:%S} {ORIGINS.get(job.origin, clean(job.origin))}")
    words.append(f"stuck after {format_duration(job.stuck_after)}")
    words.append("no timeout" if job.timeout is None else f"timeout {format_duration(job.timeout)}")
    return words


def _tab_words(current: int, width: int) -> list[str]:
    """Where it is narrow only the pane that is shown has a name."""
    return [
        f"{number} {name}" if width >= 60 or number == current else str(number)
        for number, name in enumerate(PANES, start=1)
    ]


def tab_line(current: int, width: int, charset: Charset) -> Line:
    """`▐1 Pipeline▌ 2 Output …`; `current` is a pane's number."""
    before, after = charset.stuck_edges if charset.name == "unicode" else ("[", "]")
    line: Line = []
    for number, words in enumerate(_tab_words(current, width), start=1):
        if number == current:
            line += [(before, "key"), (words, "rule-selected"), (after, "key")]
        else:
            line.append((f" {words} ", "muted"))
    return cut(line, width, charset.ellipsis)


def tab_at(x: int, current: int, width: int) -> int | None:
    """The number of the pane whose tab stands at column `x`."""
    place = 0
    for number, words in enumerate(_tab_words(current, width), start=1):
        place += numbers.cells(words) + 2
        if x < place:
            return number
    return None
