"""The user's settings (`corral/config.toml` in the platform's config directory) and what the dashboard remembers.

A file that cannot be read or makes no sense is a notice, never a crash: the rest of it counts.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Literal, get_args

from corral.model.errors import CorralError
from corral.model.home import Home, config_path
from corral.platform.files.settings_file import read_settings_file
from corral.retention.clean_settings import TABLES
from corral_tui.settings.run_defaults import TABLE as RUN_TABLE
from corral_tui.settings.run_defaults import RunDefaults, run_defaults

Confirm = Literal["ask", "never"]
View = Literal["panels", "table"]
Order = Literal["started", "name", "status", "cpu", "mem", "procs", "out", "time"]
Bell = Literal["auto", "stuck", "all", "never"]
"""`auto`: a job became stuck, ended badly, or ended after a while; `all`: every end; see `notices`."""


@dataclass(slots=True)
class Settings:
    """What the user chose. `notice` says, in one line, what of it could not be understood."""

    confirm: Confirm = "ask"
    theme: str | None = None
    chosen_theme: str | None = None
    """Chosen in the palette: it counts more than the file."""
    view: View | None = None
    """The pinned view; None lets the dashboard decide."""
    order: Order = "started"
    is_reversed: bool = False
    bell: Bell = "auto"
    title: bool = True
    """Whether the terminal's title says what needs the user."""
    run: RunDefaults = field(default_factory=RunDefaults)
    notice: str | None = None
    state_file: str | None = field(default=None, repr=False)

    @property
    def asks(self) -> bool:
        """Whether what ends something asks first."""
        return self.confirm != "never"

    def pin(self, view: View) -> str | None:
        """Remember the view. Returns why that failed, if it did."""
        self.view = view
        return self._remember("view")

    def keep_order(self, order: Order, *, is_reversed: bool) -> str | None:
        """Remember the order. Returns why that failed, if it did."""
        self.order, self.is_reversed = order, is_reversed
        return self._remember("order")

    def keep_theme(self, name: str) -> str | None:
        """Remember the theme. Returns why that failed, if it did."""
        self.theme = self.chosen_theme = name
        return self._remember("theme")

    def _remember(self, what: str) -> str | None:
        if self.state_file is None:
            return None
        scratch = f"{self.state_file}.new"
        lines = [f'view = "{self.view}"\n'] if self.view else []
        if self.order != "started" or self.is_reversed:
            lines += [f'order = "{self.order}"\n', f"reversed = {str(self.is_reversed).lower()}\n"]
        if self.chosen_theme is not None:
            lines.append(f"theme = '{self.chosen_theme}'\n")
        try:
            with open(scratch, "w", encoding="utf-8", opener=_open_private) as file:
                file.writelines(lines)
            os.replace(scratch, self.state_file)
        except OSError as error:
            return f"the {what} cannot be remembered: {self.state_file}: {error.strerror}"
        return None


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def read_settings(home: Home, path: str | None = None) -> Settings:
    """The settings, with a notice of the first thing in them that makes no sense."""
    path = config_path() if path is None else path
    settings = Settings(state_file=os.path.join(home.path, "dashboard.toml"))
    _take_config(settings, path)
    _take_remembered(settings)
    return settings


def _take_remembered(settings: Settings) -> None:
    """A file of our own: what makes no sense in it is left out without a word."""
    remembered = _table(settings.state_file or "", None)
    if remembered.get("view") in get_args(View):
        settings.view = remembered["view"]  # type: ignore[assignment]
    theme = remembered.get("theme")
    if isinstance(theme, str):
        settings.theme = settings.chosen_theme = theme
    if remembered.get("order") in get_args(Order):
        settings.order = remembered["order"]  # type: ignore[assignment]
        settings.is_reversed = remembered.get("reversed") is True


def _take_config(settings: Settings, path: str) -> None:
    table = _table(path, settings)
    for key, value in table.items():
        if key in _CHOICES:
            _take(settings, path, key, value)
        elif key not in TABLES and key != RUN_TABLE:
            _notice(settings, f"{path}: there is no setting {key!r}; there are {', '.join(sorted(_CHOICES))}")
    settings.run = run_defaults(table.get(RUN_TABLE, {}), path)
    for notice in settings.run.notices:
        _notice(settings, notice)


_CHOICES: dict[str, tuple[tuple[object, ...], str]] = {
    "bell": (get_args(Bell), '"auto", "stuck", "all" or "never"'),
    "confirm": (get_args(Confirm), '"ask" or "never"'),
    "theme": ((), "the name of a theme"),
    "title": ((True, False), "true or false"),
    "view": (get_args(View), '"panels" or "table"'),
}
"""The keys above the tables: what they may be, and how that is written. Without values any text will do."""


def _take(settings: Settings, path: str, key: str, value: object) -> None:
    choices, written = _CHOICES[key]
    # 1 is True in Python, and not in TOML.
    is_known = any(value is each or (isinstance(value, str) and value == each) for each in choices)
    if is_known or (not choices and isinstance(value, str)):
        setattr(settings, key, value)
    else:
        _notice(settings, f"{path}: {key} is {written}")


def _table(path: str, settings: Settings | None) -> dict[str, object]:
    try:
        return read_settings_file(path)
    except CorralError as problem:
        if settings is not None:
            _notice(settings, f"{path}: {problem}")
        return {}


def _notice(settings: Settings, text: str) -> None:
    if settings.notice is None:
        settings.notice = f"settings: {text}"
