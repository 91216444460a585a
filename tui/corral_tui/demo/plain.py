"""`corral demo --plain`: runs the six kinds, and prints what was expected and what happened."""

from __future__ import annotations

import asyncio
import sys
import time

from corral_tui.demo.checks import KINDS, Bench, KindResult, check
from corral_tui.demo.ending import DemoSummary, end
from corral_tui.demo.own_daemon import DemoManager
from corral_tui.demo.tools import find_tools
from corral_tui.text.lines import styled_console
from corral_tui.text.terminal_output import is_terminal, say, visible, width_of

HEADINGS = ("KIND", "EXPECTED", "FOUND", "")


def run_plain() -> int:
    """Run all six, print them, and return 0 only if all agree and nothing is left."""
    began = time.monotonic()
    findings, ending = asyncio.run(_run())
    _print(findings)
    say()
    say(f"Demo over: {ending.sentence}")
    for line in ending.left:
        say(f"  {line}")
    say(_total(findings, time.monotonic() - began))
    return 0 if not ending.left and all(finding.agrees for finding in findings) else 1


async def _run() -> tuple[list[KindResult], DemoSummary]:
    tools = await asyncio.to_thread(find_tools)
    manager = DemoManager()
    async with manager:
        bench = Bench(manager, tools)
        try:
            findings = await asyncio.gather(*(check(kind, bench) for kind in KINDS))
        finally:
            ending = await end(manager.session)
    return list(findings), ending


def _total(findings: list[KindResult], seconds: float) -> str:
    tried = [finding for finding in findings if not finding.skipped]
    wrong = [finding.kind for finding in tried if not finding.agrees]
    verdict = f"{', '.join(wrong)}: NOT as expected" if wrong else "all as expected"
    skipped = len(findings) - len(tried)
    tail = f", {skipped} skipped" if skipped else ""
    return f"{len(tried)} of {len(findings)} checked{tail}: {verdict}, in {seconds:.1f} s."


def _verdict(finding: KindResult) -> str:
    if finding.skipped:
        return "skipped"
    return "agrees" if finding.agrees else "DIFFERS"


def _rows(findings: list[KindResult]) -> list[tuple[str, str, str, str]]:
    return [
        (finding.kind, finding.expected, visible(finding.found), _verdict(finding)) for finding in findings
    ]


def _print(findings: list[KindResult]) -> None:
    if is_terminal(sys.stdout):
        _print_table(findings)
        return
    rows = [HEADINGS, *_rows(findings)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    for row in rows:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _print_table(findings: list[KindResult]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for heading in HEADINGS:
        table.add_column(heading, overflow="fold")
    styles = {"agrees": "green", "DIFFERS": "bold red", "skipped": "yellow"}
    for kind, expected, found, verdict in _rows(findings):
        table.add_row(Text(kind), Text(expected), Text(found), Text(verdict, style=styles[verdict]))
    styled_console(width_of(sys.stdout)).print(table)
