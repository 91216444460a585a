"""A warning, once, if logind ends the jobs at logout (logind.conf(5))."""

from __future__ import annotations

import glob
import os

from corral.model.home import Home
from corral_tui.text.terminal_output import note

_NOTICE_FILE = "logind-notice"
"""This file in the home means that the warning has been printed."""

_CONFIGURATIONS = ("/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd")
_LINGER = "/var/lib/systemd/linger"
_SESSIONS = "/run/systemd/seats"
"""Exists only while logind runs."""


def warn_once(home: Home) -> None:
    """Warn on stderr, once for each home, that logind ends processes at logout, and how to prevent that."""
    if os.path.exists(os.path.join(home.path, _NOTICE_FILE)) or not os.path.isdir(_SESSIONS):
        return
    user = _user()
    if not ends_processes(user, _CONFIGURATIONS) or lingers(user, _LINGER):
        return
    note(
        "corral: logind ends your processes when you log out, jobs included (KillUserProcesses=yes); "
        "to keep them: loginctl enable-linger"
    )
    _remember(home)


def ends_processes(user: str, directories: tuple[str, ...]) -> bool:
    """Whether KillUserProcesses holds for `user`, from logind.conf and its drop-ins in `directories`, highest priority first.

    Only the first logind.conf is read; drop-ins are applied after it in the order of their file names. A file in an
    earlier directory hides one of the same name in a later one.
    """
    settings: dict[str, str] = {}
    for path in (*_main_file(directories), *_drop_ins(directories)):
        settings.update(_settings_in(path))
    if settings.get("KillUserProcesses", "no").lower() not in ("yes", "true", "on", "1", "y", "t"):
        return False
    only = settings.get("KillOnlyUsers", "").split()
    spared = settings.get("KillExcludeUsers", "root").split()
    return user not in spared and (not only or user in only)


def lingers(user: str, directory: str) -> bool:
    """Whether `loginctl enable-linger` is in effect for `user`."""
    return os.path.exists(os.path.join(directory, user))


def _main_file(directories: tuple[str, ...]) -> list[str]:
    paths = [os.path.join(directory, "logind.conf") for directory in directories]
    return [path for path in paths if os.path.exists(path)][:1]


def _drop_ins(directories: tuple[str, ...]) -> list[str]:
    by_name = {
        os.path.basename(path): path
        for directory in reversed(directories)
        for path in glob.glob(os.path.join(glob.escape(directory), "logind.conf.d", "*.conf"))
    }
    return [by_name[name] for name in sorted(by_name)]


def _settings_in(path: str) -> dict[str, str]:
    settings: dict[str, str] = {}
    try:
        with open(path, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                key, sign, value = line.strip().partition("=")
                if sign and not key.startswith(("#", ";")):
                    settings[key.strip()] = value.strip()
    except OSError:
        return {}  # Not readable: use the rest of the configuration.
    return settings


def _user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _remember(home: Home) -> None:
    try:
        os.close(
            os.open(os.path.join(home.path, _NOTICE_FILE), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        )
    except OSError:
        return  # The start of the job has already reported a home that cannot be written.
