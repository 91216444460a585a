"""Makes docs/demo.svg, the picture of the README: the dashboard on the real jobs of `corral demo`, after some seconds.

python bench/make_picture.py
"""

from __future__ import annotations

import asyncio
import html
import os
import re
import socket
import sys
import time

from corral_tui.dashboard.app import DashboardApp
from corral_tui.demo.ending import end
from corral_tui.demo.jobs import ASK
from corral_tui.demo.own_daemon import DemoManager
from corral_tui.demo.screen import Show
from corral_tui.demo.tools import find_tools
from corral_tui.text.charset import UNICODE

SIZE = (160, 50)
WIDTH = 1200
SECONDS = 25.0
"""Until the picture is taken: the sparks then have a past, and feed still runs."""
TARGET = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "docs", "demo.svg")


def main() -> int:
    """Returns the exit status."""
    picture = as_picture(asyncio.run(take()))
    names = {os.path.expanduser("~"), os.getcwd(), sys.prefix, socket.gethostname()} - {"/", ""}
    told = sorted(name for name in names if name in picture)
    if told:
        print(f"not written: the picture would tell {', '.join(told)}", file=sys.stderr)
        return 1
    with open(TARGET, "w", encoding="utf-8") as file:
        file.write(picture)
    print(f"docs/demo.svg: {len(picture)} characters")
    return 0


async def take() -> str:
    """Run the demo without a terminal, and export its screen once it has something to show."""
    async with DemoManager() as manager:
        session = manager.session
        show = Show(manager)
        await show.begin(find_tools())
        await session.subscribe()
        app = DashboardApp(session, charset=UNICODE)
        show.prepare(app)
        async with app.run_test(size=SIZE) as pilot:
            began = time.monotonic()
            while time.monotonic() - began < SECONDS:
                await pilot.pause(0.5)
            await until_told_of(app)
            picture = app.export_screenshot(title="corral demo")
        await show.settle()
        ending = await end(session)
    print(ending.sentence)
    return picture


async def until_told_of(app: DashboardApp) -> None:
    """Wait for the two things that the picture is about: a stage that holds up the rest, and a job that is stuck."""
    async with asyncio.timeout(30):
        while not (
            any(job.bottleneck for job in app.snapshot.jobs.values())
            and any(job.name == ASK and job.health == "stuck" for job in app.snapshot.jobs.values())
        ):
            await asyncio.sleep(0.5)


def as_picture(exported: str) -> str:
    """The export in our width, with the reader's own monospaced font: a page may load no other."""
    without_fonts = re.sub(r"@font-face\s*{.*?}", "", exported, flags=re.DOTALL)
    families = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"
    with_ours = without_fonts.replace("font-family: Fira Code, monospace", f"font-family: {families}")
    placed = re.sub(
        r'<text class="([^"]*)" x="([^"]*)" y="([^"]*)" textLength="([^"]*)" ([^>]*)>([^<]*)<',
        _placed,
        with_ours,
    )
    return placed.replace("<svg ", f'<svg width="{WIDTH}" ', 1)


def _placed(found: re.Match[str]) -> str:
    """A text at the place of its first letter: some viewers drop blanks at its ends. Any font is stretched to fit."""
    style, x, y, length, rest, text = found.groups()
    letters = html.unescape(text)
    shown = letters.strip("\xa0")
    cell = float(length) / max(len(letters), 1)
    start = float(x) + cell * (len(letters) - len(letters.lstrip("\xa0")))
    words = html.escape(shown, quote=False).replace("\xa0", "&#160;")
    place = f'x="{start:.1f}" y="{y}" textLength="{cell * len(shown):.1f}" lengthAdjust="spacingAndGlyphs"'
    return f'<text class="{style}" {place} {rest}>{words}<'


if __name__ == "__main__":
    sys.exit(main())
