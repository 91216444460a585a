"""docs/dashboard.md shows the keys that the dashboard has: its tables are the registry's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from corral.model.home import Home
from corral_tui.dashboard.frame.actions import ACTIONS, Action, key_name
from corral_tui.settings.dashboard import read_settings
from corral_tui.text.charset import ASCII, UNICODE

PAGE = (Path(__file__).parents[2] / "docs" / "dashboard.md").read_text(encoding="utf-8")
TABLES: dict[str, frozenset[str]] = {
    "### On the list and in an opened job": frozenset({"board", "opened"}),
    "### On the list": frozenset({"board"}),
    "### In an opened job": frozenset({"opened"}),
    "### In a dialog": frozenset({"dialog"}),
    "### Everywhere": frozenset({"board", "opened", "dialog"}),
}
"""The heading of each table, and the scopes whose actions it holds."""


def _row(action: Action) -> str:
    keys = " ".join(f"`{key_name(key)}`" for key in action.keys)
    return f"| {keys} | {action.text} |"


def _tables() -> str:
    """The key section as it has to be, to paste into the page after a change of the registry."""
    parts = []
    for heading, scopes in TABLES.items():
        rows = [_row(action) for action in ACTIONS if action.scopes == scopes]
        parts.append("\n".join([heading, "", "| key | does |", "|---|---|", *rows]))
    return "\n\n".join(parts)


def test_every_action_has_a_table() -> None:
    assert {action.scopes for action in ACTIONS} == set(TABLES.values())


def test_the_page_holds_every_key_of_the_registry_and_no_other() -> None:
    section = PAGE.partition("## Keys\n")[2].partition("\n## ")[0]
    shown = section[section.index("### ") :].strip()
    assert shown == _tables()


@pytest.mark.parametrize(
    "field", ["active", "waiting", "unknown", "queued", "paused", "stopping", "succeeded", "failed"]
)
def test_the_page_holds_every_mark(field: str) -> None:
    assert f"| `{getattr(UNICODE, field)}` |" in PAGE
    assert f"`{getattr(ASCII, field)}` {'stopping' if field == 'stopping' else field}" in PAGE


def test_the_settings_of_the_page_are_understood(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    path = tmp_path / "config.toml"
    path.write_text(example, encoding="utf-8")
    settings = read_settings(Home(str(tmp_path)), str(path))
    assert settings.notice is None
    assert (settings.confirm, settings.view, settings.theme) == ("ask", "panels", "corral-light")
    assert (settings.bell, settings.title) == ("auto", True)
    assert (settings.run.stuck_after, settings.run.on_stuck) == (300.0, "mark")
