"""The CORRAL_HOME that this command uses."""

from __future__ import annotations

import os

from corral.home.directory import check_home
from corral.model.errors import CorralError
from corral.model.home import Home, default_home


def chosen_home() -> Home:
    """The home to use. Raises CorralError if it belongs to another user: root's files there would lock the owner out."""
    home = default_home()
    try:
        check_home(home)
    except FileNotFoundError:
        _refuse_under_sudo(home, _owner_above(home.path))
    except CorralError:
        _refuse_under_sudo(home, _owner_above(home.path))
        raise
    return home


def _refuse_under_sudo(home: Home, owner: int) -> None:
    """sudo that keeps HOME would use the user's home as root, or create one that the user cannot use."""
    user = os.environ.get("SUDO_UID", "")
    if os.geteuid() == 0 and user.isdigit() and int(user) != 0 and owner == int(user):
        raise CorralError(
            f"sudo corral would use {home.path}, which is not root's; run corral without sudo "
            "(corral run sudo COMMAND), or use sudo -H corral, or set CORRAL_HOME"
        )


def _owner_above(path: str) -> int:
    """The owner of the nearest existing directory above `path`."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return os.stat(path).st_uid
