"""Settings: what the user chose counts, and what makes no sense is a notice, never a crash."""

from __future__ import annotations

from pathlib import Path

import pytest

from corral.model.home import Home
from corral_tui.settings.dashboard import read_settings
from tui.fake_jobs import six_jobs
from tui.fake_source import FakeSource
from tui.screens import running, shown


def test_no_file_is_no_notice(tmp_path: Path) -> None:
    settings = read_settings(Home(str(tmp_path)), str(tmp_path / "config.toml"))
    assert settings.notice is None
    assert settings.asks
    assert settings.view is None


def test_what_is_chosen_counts(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('confirm = "never"\nview = "table"\ntheme = "nord"\n')
    settings = read_settings(Home(str(tmp_path)), str(config))
    assert (settings.asks, settings.view, settings.theme, settings.notice) == (False, "table", "nord", None)


@pytest.mark.parametrize(
    ("text", "notice"),
    [
        ("confirm = \n", "config.toml: Invalid value"),
        ('confirm = "perhaps"\n', 'confirm is "ask" or "never"'),
        ("confirm = []\n", 'confirm is "ask" or "never"'),
        ("colour = 3\n", "there is no setting 'colour'"),
        ("\x00", "config.toml: "),
    ],
)
def test_nonsense_is_a_notice_and_the_rest_counts(text: str, notice: str, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(text)
    settings = read_settings(Home(str(tmp_path)), str(config))
    assert notice in (settings.notice or "")
    assert settings.asks


def test_bytes_that_are_no_text_are_a_notice(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_bytes(b"\xff\xfe")
    assert "config.toml" in (read_settings(Home(str(tmp_path)), str(config)).notice or "")


def test_the_pinned_view_comes_back(tmp_path: Path) -> None:
    home, config = Home(str(tmp_path)), str(tmp_path / "config.toml")
    assert read_settings(home, config).pin("table") is None
    assert read_settings(home, config).view == "table"


def test_what_cannot_be_remembered_is_said(tmp_path: Path) -> None:
    settings = read_settings(Home(str(tmp_path / "gone")), str(tmp_path / "config.toml"))
    assert "the view cannot be remembered" in (settings.pin("panels") or "")


async def test_the_notice_stands_in_line_2(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('confirm = "[/]"\n')
    settings = read_settings(Home(str(tmp_path)), str(config))
    async with running(FakeSource(six_jobs(), home=str(tmp_path)), (160, 50), settings=settings) as (app, _):
        await shown(app, lambda text: 'confirm is "ask" or "never"' in text.splitlines()[1], "the notice")


async def test_an_unknown_theme_is_said(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('theme = "[/]"\n')
    settings = read_settings(Home(str(tmp_path)), str(config))
    async with running(FakeSource(six_jobs(), home=str(tmp_path)), settings=settings) as (app, _):
        await shown(app, lambda text: "there is no theme '[/]'" in text, "the notice")


def test_a_theme_of_the_palette_is_remembered(tmp_path: Path) -> None:
    home = Home(str(tmp_path))
    (tmp_path / "config.toml").write_text('theme = "nord"\n')
    settings = read_settings(home, str(tmp_path / "config.toml"))
    assert settings.theme == "nord"
    assert settings.keep_theme("corral-light") is None
    assert settings.pin("table") is None
    assert read_settings(home, str(tmp_path / "config.toml")).theme == "corral-light"
