"""The user's settings (`corral/config.toml` in the platform's config directory) and what the dashboard remembers.

A file that cannot be read or makes no sense is a notice, never a crash: the rest of it counts.
"""

from __future__ import annotations

import contextlib
import os
import tomllib
from dataclasses import dataclass, field
from typing import Literal, get_args

from corral.decide.settings import TABLES
from corral.values.home import Home, config_path

Confirm = Literal["ask", "never"]
View = Literal["panels", "table"]


@dataclass(slots=True)
class Settings:
    """What the user chose. `notice` says, in one line, what of it could not be understood."""

    confirm: Confirm = "ask"
    theme: str | None = None
    view: View | None = None
    """The pinned view; None lets the dashboard decide."""
    notice: str | None = None
    state_file: str | None = field(default=None, repr=False)

    @property
    def asks(self) -> bool:
        """Whether what ends something asks first."""
        return self.confirm != "never"

    def pin(self, view: View) -> str | None:
        """Remember the view. Returns why that failed, if it did."""
        self.view = view
        if self.state_file is None:
            return None
        scratch = f"{self.state_file}.new"
        try:
            with open(scratch, "w", encoding="utf-8", opener=_open_private) as file:
                file.write(f'view = "{view}"\n')
            os.replace(scratch, self.state_file)
        except OSError as error:
            return f"the view cannot be remembered: {self.state_file}: {error.strerror}"
        return None


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def read_settings(home: Home, path: str | None = None) -> Settings:
    """The settings, with a notice of the first thing in them that makes no sense."""
    path = config_path() if path is None else path
    settings = Settings(state_file=os.path.join(home.path, "dashboard.toml"))
    _take_config(settings, path)
    remembered = _table(settings.state_file or "", None)
    if remembered.get("view") in get_args(View):
        settings.view = remembered["view"]  # type: ignore[assignment]
    return settings


def _take_config(settings: Settings, path: str) -> None:
    table = _table(path, settings)
    for key, value in table.items():
        if key == "confirm" and value in get_args(Confirm):
            settings.confirm = value  # type: ignore[assignment]
        elif key == "view" and value in get_args(View):
            settings.view = value  # type: ignore[assignment]
        elif key == "theme" and isinstance(value, str):
            settings.theme = value
        elif key not in TABLES:
            _notice(settings, f"{path}: {_problem(key)}")


def _problem(key: str) -> str:
    choices = {"confirm": '"ask" or "never"', "view": '"panels" or "table"', "theme": "the name of a theme"}
    if key in choices:
        return f"{key} is {choices[key]}"
    return f"there is no setting {key!r}; there are {', '.join(sorted(choices))}"


def _table(path: str, settings: Settings | None) -> dict[str, object]:
    problem: str | None = None
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        try:
            with open(path, "rb") as file:
                return tomllib.load(file)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            problem = f"{path}: {error}"
        except PermissionError as error:
            problem = f"{path}: {error.strerror}"
    if problem and settings is not None:
        _notice(settings, problem)
    return {}


def _notice(settings: Settings, text: str) -> None:
    if settings.notice is None:
        settings.notice = f"settings: {text}"
