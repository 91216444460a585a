"""Run every benchmark and write the table of docs/performance.md between its two marks. Exit 0 if all promises hold.

Takes about ten minutes. The table is printed, too; with `--print` the page is left as it is. The last line on stderr says
how busy the machine was before, for figures of a busy machine are none.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from common import Report, Row, Verdict, number, shown

NAMES = (
    "output",
    "pipeline",
    "short_jobs",
    "batches",
    "idle",
    "watching",
    "ps",
    "first_paint",
    "dashboard",
    "stop",
    "long_lists",
)
HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def measured(name: str, arguments: list[str]) -> Report | None:
    """What one benchmark found; None where it failed, which it has said."""
    print(f"{name} …", file=sys.stderr, flush=True)
    done = subprocess.run(
        [sys.executable, str(HERE / f"{name}.py"), "--json", *arguments],
        stdout=subprocess.PIPE,
        check=False,
        text=True,
    )
    if not done.stdout:
        print(f"{name} failed with {done.returncode}", file=sys.stderr)
        return None
    found: dict[str, Any] = json.loads(done.stdout)
    return Report(
        found["title"],
        found["how"],
        [Row(**row) for row in found["rows"]],
        [Verdict(**verdict) for verdict in found["verdicts"]],
        found["notes"],
    )


def as_markdown(reports: dict[str, Report]) -> str:
    lines = [f"Measured on {machine()}.", "", "| what | measured | promised | |", "|---|--:|--:|---|"]
    for report in reports.values():
        for verdict in report.verdicts:
            word = "holds" if verdict.holds else "**missed**"
            lines.append(
                f"| {report.title}: {verdict.what} | {number(verdict.figure)} {verdict.unit} "
                f"| ≤ {verdict.at_most:g} {verdict.unit} | {word} |"
            )
    for name, report in reports.items():
        lines += ["", f"**{report.title}** (`bench/{name}.py`): {report.how}.", ""]
        lines += [f"- {row.name}: {shown(row)}" for row in report.rows]
        lines += [f"- {note}" for note in report.notes]
    return "\n".join(lines)


def machine() -> str:
    kernel = ".".join(platform.release().split(".")[:2])
    return f"a machine with {os.cpu_count()} cores, {platform.system()} {kernel}, CPython {platform.python_version()}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, shorter looks")
    parser.add_argument(
        "--print", action="store_true", help="print the table only, and leave the page as it is"
    )
    given = parser.parse_args()
    arguments = ["--quick"] if given.quick else []
    load = os.getloadavg()[0]
    found = {name: measured(name, arguments) for name in NAMES}
    reports = {name: report for name, report in found.items() if report is not None}
    table = as_markdown(reports)
    print(table)
    print(f"load of the machine before: {load:.1f}", file=sys.stderr)
    if len(reports) < len(NAMES):
        return 1  # a page without them would say that they are not promised
    if not given.print:
        text = PAGE.read_text(encoding="utf-8")
        head, tail = text.split(BEGIN)[0], text.split(END)[1]
        PAGE.write_text(f"{head}{BEGIN}\n{table}\n{END}{tail}", encoding="utf-8")
    return 0 if all(report.holds for report in reports.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
