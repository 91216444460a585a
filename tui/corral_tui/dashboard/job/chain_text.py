"""Which process waits for which: the chain of waits to its root, or the ring of a deadlock. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from corral.model.reports import Diagnosis, Wait
from corral_tui.dashboard.paint.lines import Line, clean, cut, plain, wrapped
from corral_tui.text.charset import Charset

MOST_LINKS = 8
"""Of a longer chain the middle is left out."""


def on_the_way(found: Diagnosis) -> frozenset[int]:
    """The processes that a chain leads through, or ends at: each is told for itself."""
    targets = {wait.on_pid for wait in found.waits if wait.on_pid is not None}
    root = {found.root.pid} if found.root is not None and found.root.pid is not None else set()
    return frozenset(targets | root | set(found.cycle))


def chain_of(found: Diagnosis) -> list[int]:
    """The pids of the longest chain that leads through the root, from its beginning to its end; or none.

    Of equally long ones the first in the order of the evidence, which is that of the stages.
    """
    if found.root is None or found.root.pid is None:
        return []
    following = {wait.pid: wait.on_pid for wait in found.waits}
    longest: list[int] = []
    for wait in found.waits:
        chain = _followed(wait.pid, following)
        if found.root.pid in chain and len(chain) > len(longest):
            longest = chain
    return longest if len(longest) > 1 else []


def _followed(start: int, following: Mapping[int, int | None]) -> list[int]:
    chain: list[int] = []
    pid: int | None = start
    while pid is not None and pid not in chain:
        chain.append(pid)
        pid = following.get(pid)
    return chain


def process_words(pid: int, found: Diagnosis, owners: Mapping[int, str]) -> str:
    """`5409 python, stage 1`, or of another job `5392 python, of job 4 holder`."""
    wait = next((each for each in found.waits if each.pid == pid), None)
    name = f"{pid} {clean(wait.name)}" if wait is not None else f"{pid}"
    if wait is not None and wait.stage is not None:
        return f"{name}, stage {wait.stage}"
    return f"{name}, of {clean(owners[pid])}" if pid in owners else name


def chain_lines(found: Diagnosis, owners: Mapping[int, str], width: int, charset: Charset) -> list[Line]:
    """One link a line, each waiting for the one below it; the last is where it ends."""
    chain = chain_of(found)
    left_out = len(chain) - MOST_LINKS
    lines: list[Line] = []
    for place, pid in enumerate(chain):
        if left_out > 0 and MOST_LINKS // 2 <= place < MOST_LINKS // 2 + left_out:
            if place == MOST_LINKS // 2:
                lines.append(
                    plain(f"     {charset.ellipsis} {left_out} more, each waiting for the next", "muted")
                )
            continue
        lead = "   " if place == 0 else f"   {charset.arrow} "
        words = process_words(pid, found, owners)
        is_end = place == len(chain) - 1
        verb = "" if is_end else " waits for"
        lines.append(cut([(lead, "key"), (words, "bold" if is_end else "plain"), (verb, "muted")], width))
    return lines


def ring_lines(found: Diagnosis, owners: Mapping[int, str], width: int, charset: Charset) -> list[Line]:
    """The ring as one: its last link leads back to its first."""
    corner = ("/", "|", "\\") if charset.name == "ascii" else ("╭", "│", "╰")
    side = charset.rule
    waits: dict[int, Wait] = {wait.pid: wait for wait in found.waits}
    lines: list[Line] = []
    for place, pid in enumerate(found.cycle):
        wait = waits.get(pid)
        edge = f"{corner[0]}{charset.flows_to}" if place == 0 else f"{corner[1]} "
        name = f"{pid} {clean(wait.name)}" if wait is not None else str(pid)
        whose = f"   of {clean(owners[pid])}" if pid in owners else ""
        if wait is not None and wait.stage is not None:
            whose = f"   stage {wait.stage}"
        lines.append([(f"   {edge} ", "warning"), (name, "bold"), (whose, "muted")])
        if wait is not None:
            lines += _behind(wrapped(clean(wait.detail), width, indent="        "), corner[1])
        if place + 1 < len(found.cycle):
            lines.append([(f"   {corner[1]}    {charset.down}", "warning")])
    back = "itself" if len(found.cycle) == 1 else f"{found.cycle[0]} again"
    last: Line = [(f"   {corner[2]}{side * 2} ", "warning"), (f"and that waits for {back}", "muted")]
    return [cut(line, width, charset.ellipsis) for line in [*lines, last]]


def _behind(lines: list[Line], edge: str) -> list[Line]:
    """`lines` with the side of the ring in their margin."""
    return [[(f"   {edge}", "warning"), (line[0][0][4:], "muted")] for line in lines]
