"""The way to a daemon, or to the journal alone where nothing needs a daemon. The seam at which tests put a fake."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from corral.service.again import are_numbers
from corral.service.client import Client
from corral.service.protocol import Answers, ListJobs, Reply_
from corral.values.errors import DaemonUnavailableError
from corral.values.spec import Origin
from corral_tui.cli.errors import complain
from corral_tui.cli.home import chosen_home


class Numbers(NamedTuple):
    """Jobs by number, and one line for each id that is no job."""

    ids: tuple[str, ...]
    unknown: tuple[str, ...]


class Caller(Protocol):
    """Whatever answers requests."""

    def call(
        self, request: Answers[Reply_], descriptors: Sequence[int] = (), timeout: float | None = None
    ) -> Reply_: ...


@contextmanager
def daemon(*, start: bool = True) -> Iterator[Client]:
    """The user's daemon, started where none runs. Raises DaemonUnavailableError."""
    with Client.connect(chosen_home(), start=start, is_lasting=True) as client:
        _say_notices(client)
        yield client


@contextmanager
def running_daemon(
    origin: Origin = "command_line", *, is_lasting: bool = False, any_protocol: bool = False
) -> Iterator[Client | None]:
    """The daemon if one runs; none is started, unless it goes away and the connection `is_lasting`."""
    home = chosen_home()

    def connect() -> Client:
        return Client.connect(
            home, start=False, origin=origin, is_lasting=is_lasting, any_protocol=any_protocol
        )

    try:
        client: Client | None = connect()
    except DaemonUnavailableError:
        from corral.service.ending import reach

        client = reach(home, connect)
    if client is None:
        yield None
        return
    with client:
        _say_notices(client)
        yield client


def _say_notices(client: Client) -> None:
    """Such as that a damaged journal was set aside: the daemon tells the first command that comes."""
    client.on_silence = complain
    for notice in client.hello.notices:
        complain(notice)


@contextmanager
def reader() -> Iterator[Caller]:
    """Who answers a command that only reads: the daemon where one runs or jobs have not ended, else the journal."""
    home = chosen_home()
    with running_daemon(is_lasting=True) as client:
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


def numbers_of(caller: Caller, ids: tuple[str, ...], *, leftovers: bool = False) -> Numbers:
    """What these ids mean now. By number a request can go on with another daemon, where `@` may mean another job.

    With `leftovers` a name means all ended jobs too that were called so and have left something alive.
    """
    if are_numbers(ids):
        return Numbers(ids, ())
    found = caller.call(ListJobs(ids=ids))
    left = found.leftovers if leftovers else ()
    return Numbers((*(job.id for job in found.jobs), *left), found.unknown)
