"""The palette: what is possible now, and every job to go to. Names are data: only `Content` is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import cast

from textual import on
from textual.command import CommandList, CommandPalette, DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, OptionList

from corral_tui.dashboard.frame.actions import Context, actions_of, key_name
from corral_tui.dashboard.frame.screen import DashboardScreen, Host, OfOneSize
from corral_tui.dashboard.paint.lines import clean

JOBS_AT_FIRST = 20
"""How many jobs are offered before anything is typed."""

Entry = tuple[str, str, Callable[[], None]]


class Palette(CommandPalette, OfOneSize):  # Textual looks for styles along the first base
    """Shown over the current screen."""

    def __init__(self) -> None:
        super().__init__([ActionsAndJobs], placeholder="what to do, or a job", id="--command-palette")

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
    def _host(self) -> Host:
        return cast("Host", self.app)

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
        for job in self._host.snapshot.jobs.values():
            if not job.hidden:
                text = f"open {job.id} {clean(job.title)}"
                yield text, "", partial(self._host.open_job, job.id)

    def _actions(self) -> list[Entry]:
        context = self._context()
        if context is None:
            return []
        host = self._host
        entries: list[Entry] = [
            (
                f"{each.label}  ({key_name(each.keys[0])})",
                each.words(is_private=host.source.is_private),
                partial(host.action_act, each.id),
            )
            for each in actions_of(context.scope)
            if each.is_in_palette and each.is_possible(context)
        ]
        entries += [
            (f"theme: {name}", "colours of the dashboard", partial(host.choose_theme, name))
            for name in sorted(self.app.available_themes)
        ]
        return entries

    def _context(self) -> Context | None:
        below = [each for each in self.app.screen_stack if isinstance(each, DashboardScreen)]
        return below[-1].context() if below else None
