"""Roles become colours of the theme, on the background of the widget that shows them."""

from __future__ import annotations

from pathlib import Path

from rich.style import Style
from textual.color import Color

from corral_tui.dashboard.app import DashboardApp
from corral_tui.dashboard.paint.styles import Colours
from tui.fake_jobs import job
from tui.fake_source import FakeSource
from tui.screens import board_of, running, until


def colours(app: DashboardApp) -> set[str]:
    """All foregrounds on the board's screen."""
    strips = board_of(app)._compositor.render_strips()
    found = (segment.style.color for strip in strips for segment in strip if segment.style)
    return {colour.name for colour in found if colour}


async def test_a_role_is_a_colour_of_the_theme(tmp_path: Path) -> None:
    async with running(FakeSource([job(1, "a")], home=str(tmp_path))) as (app, _):
        colours, variables = Colours(board_of(app).board), app.theme_variables
        background = Color.parse(variables["background"])
        assert colours["success"] == Style(
            color=Color.parse(variables["success"]).rich_color, bgcolor=background.rich_color
        )
        assert (
            colours["rule"].color
            == (background + Color.parse(variables["foreground"]).with_alpha(0.35)).rich_color
        )
        assert colours["muted"].color not in (None, colours["plain"].color, background.rich_color)
        assert colours["cursor"].bgcolor not in (None, background.rich_color)


async def test_another_theme_repaints_all_in_its_colours(tmp_path: Path) -> None:
    async with running(FakeSource([job(1, "a")], home=str(tmp_path))) as (app, _):
        dark = colours(app)
        for theme in ("corral-light", "nord", "ansi-dark"):
            before = colours(app)
            app.theme = theme
            await until(lambda before=before: colours(app).isdisjoint(before), f"the colours of {theme}")
        app.theme = "corral-dark"
        await until(lambda: colours(app) == dark, "the first colours")
