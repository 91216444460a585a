"""`corral why`: the diagnosis in one sentence, the evidence, and what can be done."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import click

from corral.client.ask_why import ask_why
from corral.model.reports import Diagnosis, PythonStack, Wait, languages_of
from corral_tui.cli.support import connect
from corral_tui.cli.support.options import id_argument, json_option
from corral_tui.text import numbers
from corral_tui.text.diagnosis_text import kept_heading, share_words
from corral_tui.text.lines import ALERT, HEADING, MUTED, StyledLine, print_lines
from corral_tui.text.terminal_output import print_json, visible


@click.command(
    "why", short_help="Say what a job waits for, with the evidence.", epilog="Example: corral why fetch-index"
)
@json_option
@id_argument(required=False)
def command(as_json: bool, job: str | None) -> int:
    """Say what a job waits for, with the evidence. Without an id: the job that needs you most."""
    with connect.reader() as caller:
        diagnosis = caller.call(ask_why(job))
    if as_json:
        print_json(diagnosis)
    else:
        print_lines(diagnosis_lines(diagnosis))
    return 0


def diagnosis_lines(diagnosis: Diagnosis) -> Iterator[StyledLine]:
    """The diagnosis as text."""
    summary = visible(diagnosis.summary)
    yield StyledLine(f"{diagnosis.id}: {summary}", ALERT if diagnosis.health == "stuck" else HEADING)
    if diagnosis.kept is not None:
        yield StyledLine()
        yield StyledLine(kept_heading(diagnosis))
        yield StyledLine(f"  {visible(diagnosis.kept.summary)}", ALERT)
    yield from _reasons(diagnosis.kept or diagnosis)
    for late in diagnosis.stragglers:
        yield from _section(late.id)
        yield StyledLine(f"  {visible(late.summary)}", ALERT if late.health == "stuck" else HEADING)
        yield from _reasons(late)
    if diagnosis.evidence:
        yield from _section("WHAT ELSE IS KNOWN" if diagnosis.kept else "EVIDENCE")
        for line in diagnosis.evidence:
            yield StyledLine(f"  {visible(line)}")
    if diagnosis.advice:
        yield from _section("WHAT YOU CAN DO")
        width = max(numbers.cells(advice.text) for advice in diagnosis.advice)
        for advice in diagnosis.advice:
            text = visible(advice.text)
            command_text = visible(advice.command or "")
            yield StyledLine(f"  {text}{' ' * (width - numbers.cells(text))}   {command_text}".rstrip())
    past = "" if diagnosis.kept is None else " then"
    for missing in (diagnosis.kept or diagnosis).not_looked_at:
        yield StyledLine()
        yield StyledLine(f"not looked at{past}: {visible(missing)}", MUTED)


def _reasons(diagnosis: Diagnosis) -> Iterator[StyledLine]:
    """Evidence, root and stacks, of now or of the time of a kept diagnosis."""
    then = "" if diagnosis.taken is None else " THEN"
    yield from _evidence(diagnosis, then)
    if diagnosis.root is not None:
        yield from _section(f"ROOT{then}")
        yield StyledLine(f"  {_root(diagnosis)}")
    if diagnosis.stacks:
        yield from _section(
            f"WHERE THE {languages_of(diagnosis.stacks)} CODE {'STOOD' if then else 'STANDS'}"
        )
        for stack in diagnosis.stacks:
            yield from _stack(stack)


def _section(title: str) -> Iterator[StyledLine]:
    yield StyledLine()
    yield StyledLine(title, HEADING)


def _evidence(diagnosis: Diagnosis, then: str) -> Iterator[StyledLine]:
    if diagnosis.since is None and not diagnosis.waits and diagnosis.bottleneck is None:
        return
    yield from _section(f"EVIDENCE{then}")
    if diagnosis.since is not None:
        still = "nothing had moved" if then else "nothing has moved"
        said = "active" if diagnosis.health == "active" else still
        yield StyledLine(f"  {said} since {_clock(diagnosis.since)}")
    if diagnosis.bottleneck is not None:
        yield StyledLine(f"  stage {diagnosis.bottleneck} holds up the rest")
    for number, time in enumerate(diagnosis.times, 1):
        if time is not None:
            yield StyledLine(f"  stage {number}  {share_words(time)}")
    for wait in diagnosis.waits:
        yield StyledLine(f"  {_wait(wait)}")
    if diagnosis.cycle:
        circle = " waits for ".join(str(pid) for pid in (*diagnosis.cycle, diagnosis.cycle[0]))
        yield StyledLine(f"  a circle: {circle}", ALERT)


def _wait(wait: Wait) -> str:
    stage = "" if wait.stage is None else f"stage {wait.stage}  "
    since = "" if wait.since is None else f"  since {_clock(wait.since)}"
    return f"{wait.pid} {visible(wait.name)}  {stage}{wait.kind}  {visible(wait.detail)}{since}"


def _stack(stack: PythonStack) -> Iterator[StyledLine]:
    """One thread, the innermost call first."""
    stage = "" if stack.stage is None else f"  stage {stack.stage}"
    thread = stack.thread_name or ("" if stack.thread is None else str(stack.thread))
    yield StyledLine(f"  {stack.pid} {visible(stack.name)}{stage}  {visible(thread)}".rstrip())
    width = max(numbers.cells(frame.function) for frame in stack.frames)
    for frame in stack.frames:
        function = visible(frame.function)
        gap = " " * (width - numbers.cells(function))
        yield StyledLine(f"    {function}{gap}  {visible(frame.file)}:{frame.line}")
    if stack.left_out:
        yield StyledLine(f"    {stack.left_out} more of {stack.language.title()} and its libraries", MUTED)


def _root(diagnosis: Diagnosis) -> str:
    root = diagnosis.root
    assert root is not None
    stage = "" if root.stage is None else f", stage {root.stage}"
    for wait in diagnosis.waits:
        if wait.pid == root.pid:
            return f"{wait.pid} {visible(wait.name)}{stage}: {visible(wait.detail)}"
    process = "outside the job" if root.pid is None else f"process {root.pid}"
    return f"{process}{stage}: {root.kind}"


def _clock(at: datetime) -> str:
    return f"{at.astimezone():%H:%M:%S}"
