"""The way to a daemon, or to the journal alone where nothing needs a daemon. The seam at which tests put a fake."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from corral.service.client import Client
from corral.service.protocol import Answers, Reply_
from corral.values.errors import DaemonUnavailableError
from corral.values.spec import Origin
from corral_tui.cli.guard import complain
from corral_tui.cli.homes import chosen_home


class Caller(Protocol):
    """Whatever answers requests."""

    def call(
        self, request: Answers[Reply_], descriptors: Sequence[int] = (), timeout: float | None = None
    ) -> Reply_: ...


@contextmanager
def daemon(*, start: bool = True) -> Iterator[Client]:
    """The user's daemon, started where none runs. Raises DaemonUnavailableError."""
    with Client.connect(chosen_home(), start=start) as client:
        _say_notices(client)
        yield client


@contextmanager
def running_daemon(origin: Origin = "command_line") -> Iterator[Client | None]:
    """The daemon if one runs; never starts one."""
    home = chosen_home()
    try:
        client = Client.connect(home, start=False, origin=origin)
    except DaemonUnavailableError:
        yield None
        return
    with client:
        _say_notices(client)
        yield client


def _say_notices(client: Client) -> None:
    """Such as that a damaged journal was set aside: the daemon tells the first command that comes."""
    for notice in client.hello.notices:
        complain(notice)


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
        if not offline.unended():
            yield offline
            return
    with daemon() as client:
        yield client


@contextmanager
def onlooker() -> Iterator[Caller]:
    """As `reader`, but a daemon is never started: what the journal says has to do, as for completion."""
    # Not as the command line: a notice would go into the line that is being typed, and be lost.
    with running_daemon(origin="library") as client:
        if client is not None:
            yield client
            return
    from corral_tui.cli.offline import Offline

    with Offline.open(chosen_home()) as offline:
        yield offline
