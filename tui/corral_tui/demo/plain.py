"""`corral demo --plain`: runs the six kinds, and prints what was expected and what happened."""

from __future__ import annotations

import asyncio
import sys
import time

from corral_tui.demo.checks import KINDS, Bench, CheckResult, Finding, check
from corral_tui.demo.ending import DemoSummary, end
from corral_tui.demo.own_daemon import DemoManager
from corral_tui.demo.tools import find_tools
from corral_tui.text.columns import lay_out
from corral_tui.text.lines import styled_console
from corral_tui.text.terminal_output import is_terminal, say, visible, width_of

HEADINGS = ("KIND", "EXPECTED", "FOUND", "")


def run_plain() -> int:
    """Run all six, print them, and return 0 only if all agree and nothing is left."""
    began = time.monotonic()
    findings, ending = asyncio.run(_run())
    _print(findings)
    say("")
    say(f"Demo over: {ending.sentence}")
    for line in ending.left:
        say(f"  {line}")
    say(_total(findings, time.monotonic() - began))
    return 0 if not ending.left and all(result.agrees for _, result in findings) else 1


async def _run() -> tuple[list[Finding], DemoSummary]:
    tools = await asyncio.to_thread(find_tools)
    manager = DemoManager()
    async with manager:
        bench = Bench(manager, tools)
        try:
            findings = await asyncio.gather(*(check(kind, bench) for kind in KINDS))
        finally:
            ending = await end(manager.session)
    return list(findings), ending


def _total(findings: list[Finding], seconds: float) -> str:
    skipped = sum(result.is_skipped for _, result in findings)
    wrong = [kind.name for kind, result in findings if not result.agrees]
    verdict = f"{', '.join(wrong)}: NOT as expected" if wrong else "all as expected"
    tail = f", {skipped} skipped" if skipped else ""
    return f"{len(findings) - skipped} of {len(findings)} checked{tail}: {verdict}, in {seconds:.1f} s."


def _verdict(result: CheckResult) -> str:
    return "skipped" if result.is_skipped else "agrees" if result.agrees else "DIFFERS"


def _print(findings: list[Finding]) -> None:
    rows = [
        (
            kind.name,
            result.found if result.is_skipped else kind.expected,
            visible(result.found),
            _verdict(result),
        )
        for kind, result in findings
    ]
    if is_terminal(sys.stdout):
        _print_table(rows)
    else:
        say(*lay_out(HEADINGS, rows, frozenset(), None))


def _print_table(rows: list[tuple[str, str, str, str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for heading in HEADINGS:
        table.add_column(heading, overflow="fold")
    styles = {"agrees": "green", "DIFFERS": "bold red", "skipped": "yellow"}
    for kind, expected, found, verdict in rows:
        table.add_row(Text(kind), Text(expected), Text(found), Text(verdict, style=styles[verdict]))
    styled_console(width_of(sys.stdout)).print(table)
