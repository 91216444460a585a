"""Why a job does what it does: one sentence, the evidence, the chain to the root, what can be done, and what was not
looked at. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from corral.model.job import Job
from corral.model.reports import Advice, Diagnosis, PythonStack, Root, Wait, languages_of
from corral_tui.dashboard.job.chain_text import chain_lines, on_the_way, process_words, ring_lines
from corral_tui.dashboard.paint.lines import Line, clean, cut, plain, text, wrapped
from corral_tui.text import numbers
from corral_tui.text.charset import Charset
from corral_tui.text.diagnosis_text import kept_heading, share_words

COMMAND_COLUMN = 27
ALIKE = 3
"""From so many processes on that wait for the same they share an entry."""
MOST_ENTRIES = 50
MOST_PIDS = 6
TEXT_WIDTH = 100


class WhyContext(NamedTuple):
    """What a diagnosis is drawn with."""

    now: datetime
    width: int
    charset: Charset
    job: Job | None = None
    owners: Mapping[int, str] = {}
    """Processes of other jobs, and which job each is of."""


def why_lines(found: Diagnosis, context: WhyContext) -> list[Line]:
    """The whole diagnosis; of an ended job with the one that was kept."""
    lines = wrapped(clean(found.summary), context.width, role="bold")
    reasons = found
    if found.kept is not None:
        reasons = found.kept
        lines += [[], *wrapped(kept_heading(found), context.width, role="muted")]
        if reasons.summary not in found.summary:
            lines += wrapped(clean(reasons.summary), context.width, role="bold")
        context = context._replace(now=reasons.taken or found.ended or context.now)
    lines += _reasons(reasons, context, is_over=found.kept is not None)
    if found.evidence:
        title = " WHAT ELSE IS KNOWN" if found.kept is not None else " EVIDENCE"
        told = [wrapped(clean(each), context.width, indent="   ", hanging="     ") for each in found.evidence]
        lines += [[], plain(title, "muted"), *(line for each in told for line in each)]
    if found.advice:
        lines += [[], plain(" WHAT YOU CAN DO", "muted")]
        lines += [line for advice in found.advice for line in _advice(advice, found.id, context)]
    if reasons.not_looked_at:
        then = " then" if found.kept is not None else ""
        words = f"not looked at{then}: " + "; ".join(clean(each) for each in reasons.not_looked_at)
        lines += [[], *wrapped(words, context.width, hanging="   ", role="muted")]
    return lines


def why_as_text(
    found: Diagnosis,
    now: datetime,
    charset: Charset,
    job: Job | None = None,
    owners: Mapping[int, str] | None = None,
) -> str:
    """The same, for a bug report."""
    context = WhyContext(now, TEXT_WIDTH, charset, job, owners or {})
    return "\n".join(text(line).rstrip() for line in why_lines(found, context)) + "\n"


def _reasons(found: Diagnosis, context: WhyContext, *, is_over: bool) -> list[Line]:
    lines: list[Line] = []
    evidence = _evidence(found, context, is_over=is_over)
    if evidence:
        lines += [[], plain(" EVIDENCE", "muted"), *evidence]
    if found.cycle:
        lines += [
            plain(" A RING: EACH WAITS FOR THE NEXT", "warning"),
            *ring_lines(found, context.owners, context.width, context.charset),
        ]
    else:
        chain = chain_lines(found, context.owners, context.width, context.charset)
        lines += [plain(" THE CHAIN", "muted"), *chain] if chain else []
    if found.root is not None:
        lines += [
            plain(" ROOT", "muted"),
            *wrapped(root_words(found.root, found), context.width, indent="   "),
        ]
    if found.stacks:
        lines += [
            plain(f" WHERE THE {languages_of(found.stacks)} CODE {'STOOD' if is_over else 'STANDS'}", "muted")
        ]
        lines += [line for stack in found.stacks for line in _stack(stack, context)]
    return lines


# ---- evidence -------------------------------------------------------------------------------------------------------


def _evidence(found: Diagnosis, context: WhyContext, *, is_over: bool) -> list[Line]:
    lines: list[Line] = []
    if found.health in ("stuck", "waiting") and found.since is not None:
        verb = "had" if is_over else "has"
        words = f"nothing {verb} moved since {found.since.astimezone():%H:%M:%S} (cpu, i/o, output, set of processes)"
        lines += wrapped(words, context.width, indent="   ", hanging="     ")
    for number, time in enumerate(found.times, 1):
        if time is not None:
            lines += wrapped(
                f"stage {number}   {share_words(time)}", context.width, indent="   ", hanging="     "
            )
    groups = alike(found)
    for group in groups[:MOST_ENTRIES]:
        lines += _entry(group, found, context)
    left = sum(len(group) for group in groups[MOST_ENTRIES:])
    if left:
        words = f"and {numbers.counted(left, 'process')} more: corral why --json {found.id} has them all"
        lines += wrapped(words, context.width, indent="   ", role="warning")
    return lines


def alike(found: Diagnosis) -> list[list[Wait]]:
    """The waits in their order; many that are the same and that no chain leads through are one group."""
    kept_apart = on_the_way(found)
    groups: dict[tuple[object, ...], list[Wait]] = {}
    for wait in found.waits:
        key = (wait.stage, wait.name, wait.kind, wait.detail, wait.on_pid)
        groups.setdefault((wait.pid,) if wait.pid in kept_apart else key, []).append(wait)
    apart: list[list[Wait]] = []
    for group in groups.values():
        apart += [group] if len(group) >= ALIKE else [[wait] for wait in group]
    return apart


def _entry(group: Sequence[Wait], found: Diagnosis, context: WhyContext) -> list[Line]:
    """`5409 python   stage 1   file_lock   since 1m14s`, and below it what it waits for, and who holds it."""
    wait = group[0]
    who = f"{wait.pid}" if len(group) == 1 else f"{len(group)} \u00d7"
    if context.charset.name == "ascii":
        who = who.replace("\u00d7", "x")
    facts = [f"{who} {clean(wait.name)}"]
    facts += [f"stage {wait.stage}"] if wait.stage is not None else []
    facts += [f"of {context.owners[wait.pid]}"] if wait.pid in context.owners else []
    facts.append(wait.kind)
    if wait.since is not None:
        facts.append(f"since {numbers.whole_duration((context.now - wait.since).total_seconds())}")
    lines = [cut(plain("   " + "   ".join(facts)), context.width, context.charset.ellipsis)]
    lines += wrapped(clean(wait.detail), context.width, indent="      ", role="muted")
    if len(group) > 1:
        pids = " ".join(str(each.pid) for each in group[:MOST_PIDS])
        more = f" {context.charset.ellipsis}" if len(group) > MOST_PIDS else ""
        lines += wrapped(f"pids {pids}{more}", context.width, indent="      ", role="muted")
    elif wait.on_pid is not None and str(wait.on_pid) not in wait.detail:
        held = f"{_relation(wait)} {process_words(wait.on_pid, found, context.owners)}"
        lines += wrapped(held, context.width, indent="      ", role="muted")
    return lines


def _relation(wait: Wait) -> str:
    """How the process that could end the wait comes into it."""
    if wait.kind.startswith(("pipe_", "socket_")):
        return "at its other end:"
    return "held by" if wait.kind in ("file_lock", "futex") else "depends on"


def root_words(root: Root, found: Diagnosis) -> str:
    """Where the chain ends: a process of the job and what it waits for, or something outside of it."""
    if root.pid is None:
        return f"outside this job: {root.kind}"
    wait = next((wait for wait in found.waits if wait.pid == root.pid), None)
    stage = f", stage {root.stage}" if root.stage is not None else ""
    if wait is None:
        return f"{root.pid}{stage}: {root.kind}"
    return f"{root.pid} {clean(wait.name)}{stage}: {clean(wait.detail)}"


def _stack(stack: PythonStack, context: WhyContext) -> list[Line]:
    """One thread, the innermost call first."""
    stage = "" if stack.stage is None else f"   stage {stack.stage}"
    thread = stack.thread_name or ("" if stack.thread is None else str(stack.thread))
    head = f"   {stack.pid} {clean(stack.name)}{stage}   {clean(thread)}".rstrip()
    lines = [cut(plain(head), context.width, context.charset.ellipsis)]
    width = max((numbers.cells(clean(frame.function)) for frame in stack.frames), default=0)
    for frame in stack.frames:
        function = numbers.left(clean(frame.function), min(width, 24), context.charset.ellipsis)
        room = max(context.width - numbers.cells(function) - 8, 8)
        place = numbers.cut_start(f"{clean(frame.file)}:{frame.line}", room, context.charset.ellipsis)
        lines.append([(f"      {function}  ", "plain"), (place, "muted")])
    if stack.left_out:
        lines.append(
            plain(f"      {stack.left_out} more of {stack.language.title()} and its libraries", "muted")
        )
    return lines


# ---- what can be done -----------------------------------------------------------------------------------------------


def key_for(command: str | None, job_id: str, job: Job | None) -> str:
    """The key that does the same on this screen, or none."""
    keys = {f"corral stop {job_id}": "s", f"corral restart {job_id}": "r", f"corral attach {job_id}": "a"}
    keys[f"corral logs {job_id}"] = "2"
    if job is not None and job.state == "paused":
        keys[f"corral resume {job_id}"] = "p"
    return keys.get(command or "", "")


def _advice(advice: Advice, job_id: str, context: WhyContext) -> list[Line]:
    """`s  stop it             corral stop 4`."""
    words = clean(advice.text)
    key = key_for(advice.command, job_id, context.job)
    first = wrapped(words, context.width, indent=f"   {key:1}  ", hanging="      ")
    lead: Line = [(f"   {key:1}  ", "key")]
    if advice.command is None:
        return first
    command = clean(advice.command)
    if (
        numbers.cells(words) + 6 < COMMAND_COLUMN + 2
        and COMMAND_COLUMN + 4 + numbers.cells(command) <= context.width
    ):
        return [[*lead, (f"{numbers.left(words, COMMAND_COLUMN - 6)}  ", "plain"), (command, "key")]]
    return [*first, *wrapped(command, context.width, indent="         ", role="key")]
