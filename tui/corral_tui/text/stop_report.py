"""A stop report as text: the processes, and a sentence that says what is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from corral.model.reports import StoppedProcess, StopReport, Survivor
from corral_tui.text import numbers
from corral_tui.text.phrases import delay_text
from corral_tui.text.terminal_output import visible

FEW = 10
"""Up to so many processes have a line each; of more, only those that a plain kill would miss or that took more signals."""
MAX_LINES = 20
"""Lines of single processes in one report; JSON has all."""
ALREADY_ENDED = "already ended"
"""The note of a stop that had nothing to do; its processes are those of an earlier stop."""


def report_lines(report: StopReport, title: str) -> Iterator[str]:
    """The report of one job; `title` is its id and name."""
    if report.note == ALREADY_ENDED and report.nothing_is_left:
        yield f"{title}: {ALREADY_ENDED}. Nothing of it is left."
        return
    if report.note is not None and not (report.processes or report.survivors or report.in_doubt):
        yield f"{title}: {visible(report.note)}."
        return
    if report.note == ALREADY_ENDED and report.in_doubt:
        yield f"{title}: {ALREADY_ENDED}"
    else:
        yield f"{title}: {_what_was_done(report)}"
    shown = report.processes
    if len(shown) > FEW:
        shown = tuple(process for process in shown if _is_remarkable(process))
    for process in shown[:MAX_LINES]:
        yield f"  {_process_line(process)}"
    if len(shown) > MAX_LINES:
        yield f"  and {len(shown) - MAX_LINES} more; --json lists them all"
    for survivor in report.survivors:
        yield f"  {_survivor_line(survivor)}"
    for survivor in report.in_doubt:
        yield f"  {_doubt_line(survivor)}"
    if report.note not in (None, ALREADY_ENDED):
        yield f"  {visible(report.note or '')}"
    yield result_sentence(report)


def is_about_leftovers(report: StopReport) -> bool:
    """Whether the job had ended by itself, and only its leftovers were stopped."""
    return report.state in ("succeeded", "failed", "lost")


def is_going_on(report: StopReport) -> bool:
    """Whether processes are still being ended, and none was given up."""
    return not report.survivors and (report.looked_at is None or report.state == "stopping")


def _what_was_done(report: StopReport) -> str:
    when = delay_text(report.seconds)
    if report.state == "timed_out":
        return f"timed out, and was ended {when}"
    if not is_about_leftovers(report):
        return f"{report.state} {when}"
    if report.survivors or is_going_on(report):
        return f"it had {report.state} before; its leftovers are being ended"
    return f"its leftovers ended {when.replace('after', 'in')}"


def result_sentence(report: StopReport) -> str:
    """`Nothing of it is left. 9 processes: 5 by TERM, 3 by themselves, 1 by KILL.`, or how many processes are left."""
    ended = ended_sentence(report.processes)
    if report.survivors:
        left = numbers.counted(len(report.survivors), "process")
        verb = "is" if len(report.survivors) == 1 else "are"
        stays = "" if is_about_leftovers(report) else f", and the job stays {report.state}"
        return f"{left} {verb} left{stays}. {ended}".rstrip()
    if is_going_on(report):
        return f"It is being stopped. {ended}".rstrip()
    if report.in_doubt:
        more = numbers.counted(len(report.in_doubt), "process")
        return f"Of what is proven to be of it nothing is left; {more} may be of it. {ended}".rstrip()
    return f"Nothing of it is left. {ended}".rstrip()


def ended_sentence(processes: Sequence[StoppedProcess]) -> str:
    """`9 processes: 5 by TERM, 3 by themselves, 1 by KILL.`, of those that have ended; empty for none."""
    ended = [process for process in processes if process.ended_by is not None]
    return f"{numbers.counted(len(ended), 'process')}: {ended_counts(ended)}." if ended else ""


def ended_counts(processes: Iterable[StoppedProcess]) -> str:
    """`5 by TERM, 3 by themselves, 1 by KILL`: KILL last, where readers look for it."""
    ways = Counter(_way(process) for process in processes if process.ended_by is not None)
    ordered = sorted(ways, key=lambda way: ({"KILL": 2, "": 1}.get(way, 0), way))
    return ", ".join(f"{ways[way]} by {_way_in_words(way, ways[way])}" for way in ordered)


def _way(process: StoppedProcess) -> str:
    """The signal that ended it, whether it died of it or exited because of it; empty for none."""
    ended_by = process.ended_by or ""
    if ended_by == "itself" or not process.signals:
        return ""
    return process.signals[-1] if ended_by.startswith("exit") else ended_by


def _way_in_words(way: str, count: int) -> str:
    return way or ("itself" if count == 1 else "themselves")


def _is_remarkable(process: StoppedProcess) -> bool:
    """Whether a plain kill of the leader would have missed it, or more than one signal was needed."""
    return len(process.signals) > 1 or "session" in process.where or process.ended_by == "KILL"


def _process_line(process: StoppedProcess) -> str:
    sent = " then ".join(process.signals) or "no signal"
    after = "" if process.seconds is None else f" {delay_text(process.seconds)}"
    end = "still there" if process.ended_by is None else f"ended by {process.ended_by}{after}"
    return f"{process.pid}  {visible(process.name)}  {_stage(process.stage)}{process.where}  {sent}  {end}"


def _survivor_line(survivor: Survivor) -> str:
    where = "" if survivor.blocked_in is None else f" in {visible(survivor.blocked_in)}"
    return (
        f"{survivor.pid}  {visible(survivor.name)}  {_stage(survivor.stage)}LEFT  state {survivor.state}{where}: "
        f"{visible(survivor.reason)}"
    )


def _doubt_line(one: Survivor) -> str:
    return f"{one.pid}  {visible(one.name)}  IN DOUBT  state {one.state}: {visible(one.reason)}"


def _stage(stage: int | None) -> str:
    return "" if stage is None else f"stage {stage}  "
