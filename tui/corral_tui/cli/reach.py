"""The way to a daemon, or to the journal alone where nothing needs a daemon. The seam at which tests put a fake."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from corral.decide.homedir import check_owner
from corral.service.client import Client
from corral.service.protocol import Answers, Reply_
from corral.values.errors import CorralError, DaemonUnavailableError
from corral.values.home import Home, default_home


class Caller(Protocol):
    """Whatever answers requests."""

    def call(
        self, request: Answers[Reply_], descriptors: Sequence[int] = (), timeout: float | None = None
    ) -> Reply_: ...


def chosen_home() -> Home:
    """The home to use. Raises CorralError where it is another user's: root's files there would lock its owner out."""
    home = default_home()
    try:
        check_owner(home)
    except FileNotFoundError:
        _refuse_under_sudo(home, _owner_above(home.path))
    except OSError as error:
        raise CorralError(
            f"cannot use CORRAL_HOME {home.path}: {error.strerror}; set it to a directory of yours"
        ) from None
    except CorralError:
        _refuse_under_sudo(home, os.stat(home.path).st_uid)
        raise
    return home


def _refuse_under_sudo(home: Home, owner: int) -> None:
    """With the user's HOME kept, root would work in the user's home, or make one there that the user cannot use."""
    user = os.environ.get("SUDO_UID", "")
    if os.geteuid() == 0 and user.isdigit() and int(user) != 0 and owner == int(user):
        raise CorralError(
            f"sudo corral would use {home.path}, which is not root's; run corral without sudo "
            "(corral run sudo COMMAND), or use sudo -H corral, or set CORRAL_HOME"
        )


def _owner_above(path: str) -> int:
    """The uid of the nearest directory above `path` that exists."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return os.stat(path).st_uid


@contextmanager
def daemon(*, start: bool = True) -> Iterator[Client]:
    """The user's daemon, started where none runs. Raises DaemonUnavailableError."""
    with Client.connect(chosen_home(), start=start) as client:
        yield client


@contextmanager
def running_daemon() -> Iterator[Client | None]:
    """The daemon if one runs; never starts one."""
    home = chosen_home()
    try:
        client = Client.connect(home, start=False)
    except DaemonUnavailableError:
        yield None
        return
    with client:
        yield client


@contextmanager
def reader() -> Iterator[Caller]:
    """Who answers a command that only reads: the daemon where one runs or jobs have not ended, else the journal."""
    home = chosen_home()
    with running_daemon() as client:
        if client is not None:
            yield client
            return
    from corral_tui.cli.offline import Offline

    with Offline.open(home) as offline:
        if not offline.has_unended():
            yield offline
            return
    with daemon() as client:
        yield client


@contextmanager
def onlooker() -> Iterator[Caller]:
    """As `reader`, but a daemon is never started: what the journal says has to do, as for completion."""
    with running_daemon() as client:
        if client is not None:
            yield client
            return
    from corral_tui.cli.offline import Offline

    with Offline.open(chosen_home()) as offline:
        yield offline
