"""Why a job does what it does: one sentence, the evidence, the root, what can be done, and what was not looked at."""

from __future__ import annotations

from datetime import datetime

from corral.values.reports import Advice, Diagnosis, PythonStack, Root, Wait
from corral_tui import numbers
from corral_tui.dashboard.lines import Line, clean, cut, plain, text, wrapped
from corral_tui.dashboard.marks import Charset

COMMAND_COLUMN = 24


def why_lines(found: Diagnosis, now: datetime, width: int, charset: Charset) -> list[Line]:
    """The whole diagnosis."""
    lines = wrapped(clean(found.summary), width, role="bold")
    evidence = _evidence(found, now, width, charset)
    if evidence:
        lines += [[], plain(" EVIDENCE", "muted"), *evidence]
    if found.root is not None:
        lines += [plain(" ROOT", "muted"), *wrapped(root_words(found.root, found), width, indent="   ")]
    if found.stacks:
        lines += [[], plain(" WHERE THE PYTHON CODE STANDS", "muted")]
        lines += [line for stack in found.stacks for line in _stack(stack, width)]
    if found.advice:
        lines += [[], plain(" WHAT YOU CAN DO", "muted")]
        lines += [line for advice in found.advice for line in _advice(advice, width)]
    if found.not_looked_at:
        words = "not looked at: " + "; ".join(clean(each) for each in found.not_looked_at)
        lines += [[], *wrapped(words, width, hanging="   ", role="muted")]
    return lines


def why_as_text(found: Diagnosis, now: datetime, charset: Charset) -> str:
    """The same, for a bug report."""
    return "\n".join(text(line).rstrip() for line in why_lines(found, now, 100, charset)) + "\n"


def _evidence(found: Diagnosis, now: datetime, width: int, charset: Charset) -> list[Line]:
    lines: list[Line] = []
    if found.health == "stuck" and found.since is not None:
        since = f"{found.since.astimezone():%H:%M:%S}"
        words = f"nothing has moved since {since}   cpu, i/o, output, set of processes"
        lines += wrapped(words, width, indent="   ", hanging="     ")
    for wait in found.waits:
        lines += _wait(wait, now, width, charset)
    if found.cycle:
        chain = f" {charset.arrow} ".join(str(pid) for pid in (*found.cycle, found.cycle[0]))
        lines += wrapped(
            f"a circle that cannot resolve: {chain}", width, indent="   ", hanging="     ", role="warning"
        )
    return lines


def _wait(wait: Wait, now: datetime, width: int, charset: Charset) -> list[Line]:
    since = "" if wait.since is None else f"   since {numbers.duration((now - wait.since).total_seconds())}"
    stage = "" if wait.stage is None else f"{wait.stage} "
    head = f"   {wait.pid} {stage}{clean(wait.name)}   {wait.kind}{since}"
    return [
        cut(plain(head), width, charset.ellipsis),
        *wrapped(clean(wait.detail), width, indent="      ", role="muted"),
    ]


def root_words(root: Root, found: Diagnosis) -> str:
    """Where the chain ends: a process of the job, or something outside of it."""
    if root.pid is None:
        return f"outside this job: {root.kind}"
    name = next((clean(wait.name) for wait in found.waits if wait.pid == root.pid), "")
    stage = f"stage {root.stage}, " if root.stage is not None else ""
    return f"{stage}{root.pid} {name}: {root.kind}".replace("  ", " ")


def _stack(stack: PythonStack, width: int) -> list[Line]:
    """One thread of a Python program, the innermost call first."""
    thread = stack.thread_name or ("" if stack.thread is None else str(stack.thread))
    stage = "" if stack.stage is None else f"{stack.stage} "
    lines = wrapped(f"{stack.pid} {stage}{clean(stack.name)}   {clean(thread)}", width, indent="   ")
    for frame in stack.frames:
        words = f"{clean(frame.function)}   {clean(frame.file)}:{frame.line}"
        lines += wrapped(words, width, indent="      ", hanging="        ", role="muted")
    if stack.left_out:
        lines += wrapped(
            f"{stack.left_out} more of Python and its libraries", width, indent="      ", role="muted"
        )
    return lines


def _advice(advice: Advice, width: int) -> list[Line]:
    words = clean(advice.text)
    if advice.command is None:
        return wrapped(words, width, indent="   ", hanging="     ")
    command = clean(advice.command)
    if numbers.cells(words) < COMMAND_COLUMN and COMMAND_COLUMN + 4 + numbers.cells(command) <= width:
        return [[(f"   {numbers.left(words, COMMAND_COLUMN)} ", "plain"), (command, "key")]]
    return [
        *wrapped(words, width, indent="   ", hanging="     "),
        *wrapped(command, width, indent="      ", role="key"),
    ]
