"""The palette: what is possible now, and every job to go to. Names are data: only `Content` is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, cast

from textual import on
from textual.command import CommandList, CommandPalette, DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, OptionList

from corral_tui.dashboard.actions import Context, actions_of, key_name
from corral_tui.dashboard.lines import clean
from corral_tui.dashboard.view import DashboardScreen, OfOneSize

if TYPE_CHECKING:
    from corral_tui.dashboard.app import DashboardApp

JOBS_AT_FIRST = 20
"""How many jobs are offered before anything is typed."""

Entry = tuple[str, str, Callable[[], None]]


def open_palette(app: DashboardApp) -> None:
    """Show the palette over the current screen."""
    app.push_screen(_Palette([ActionsAndJobs], placeholder="what to do, or a job", id="--command-palette"))


class _Palette(CommandPalette, OfOneSize):  # Textual looks for styles along the first base
    @on(Input.Submitted)
    @on(OptionList.OptionSelected)
    def _only_once(self, event: Message) -> None:
        """A second enter may be on its way while the first one closes it."""
        if not self.is_current:
            event.stop().prevent_default()

    def _action_command_list(self, action: str) -> None:
        # Of a list that has no row on the screen Textual does not know the lines.
        if self.query_one(CommandList).scrollable_content_region.height:
            super()._action_command_list(action)


class ActionsAndJobs(Provider):
    """Actions that are possible on the screen beneath, then jobs."""

    @property
    def _dashboard(self) -> DashboardApp:
        return cast("DashboardApp", self.app)

    async def discover(self) -> Hits:
        for number, (text, help_text, run) in enumerate(self._entries()):
            if number >= len(self._actions()) + JOBS_AT_FIRST:
                return
            yield DiscoveryHit(Content(text), run, text=text, help=help_text)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for text, help_text, run in self._entries():
            score = matcher.match(text)
            if score > 0:
                yield Hit(score, matcher.highlight(text), run, text=text, help=help_text)

    def _entries(self) -> Iterator[Entry]:
        yield from self._actions()
        for job in self._dashboard.snapshot.jobs.values():
            if not job.hidden:
                text = f"open {job.id} {clean(job.title)}"
                yield text, "", partial(self._dashboard.open_job, job.id)

    def _actions(self) -> list[Entry]:
        context = self._context()
        if context is None:
            return []
        app = self._dashboard
        entries: list[Entry] = [
            (
                f"{each.label}  ({key_name(each.keys[0])})",
                each.words(is_private=app.source.is_private),
                partial(app.action_act, each.id),
            )
            for each in actions_of(context.scope)
            if each.is_in_palette and each.is_possible(context)
        ]
        entries += [
            (f"theme: {name}", "colours of the dashboard", partial(app.choose_theme, name))
            for name in sorted(app.available_themes)
        ]
        return entries

    def _context(self) -> Context | None:
        below = [each for each in self.app.screen_stack if isinstance(each, DashboardScreen)]
        return below[-1].context() if below else None
