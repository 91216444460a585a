"""Connections to the daemon, or to the journal alone if no daemon is needed. Tests put a fake here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from corral.client.blocking import Client
from corral.model.errors import DaemonUnavailableError
from corral.protocol.requests import ListJobs, Reply_, Request, are_numbers
from corral_tui.cli.support.errors import complain
from corral_tui.cli.support.home import chosen_home


class ResolvedIds(NamedTuple):
    """Job numbers, and one line for each id that names no job."""

    ids: tuple[str, ...]
    unknown: tuple[str, ...]


class Backend(Protocol):
    """The daemon, or the journal alone: answers requests."""

    def call(
        self, request: Request[Reply_], descriptors: Sequence[int] = (), timeout: float | None = None
    ) -> Reply_: ...


@contextmanager
def daemon() -> Iterator[Client]:
    """The user's daemon, started if none runs. Raises DaemonUnavailableError."""
    with Client.connect(chosen_home(), is_lasting=True) as client:
        _say_notices(client)
        yield client


@contextmanager
def running_daemon(*, is_lasting: bool = False, any_protocol: bool = False) -> Iterator[Client | None]:
    """The daemon if one runs. None is started, unless it goes away during a connection that `is_lasting`."""
    home = chosen_home()

    def connect() -> Client:
        return Client.connect(home, start=False, is_lasting=is_lasting, any_protocol=any_protocol)

    try:
        client: Client | None = connect()
    except DaemonUnavailableError:
        from corral.client.end_daemon import reach

        client = reach(home, connect)
    if client is None:
        yield None
        return
    with client:
        _say_notices(client)
        yield client


def _say_notices(client: Client) -> None:
    """For example that a damaged journal was set aside: the daemon reports it to the first client."""
    client.on_silence = complain
    complain(*client.hello.notices)


@contextmanager
def reader() -> Iterator[Backend]:
    """A caller for commands that only read: the daemon if one runs or jobs have not ended, else the journal."""
    home = chosen_home()
    with running_daemon(is_lasting=True) as client:
        if client is not None:
            yield client
            return
    from corral_tui.cli.support.offline import Offline

    with Offline.open(home) as offline:
        if not offline.unended():
            yield offline
            return
    with daemon() as client:
        yield client


def resolve_ids(caller: Backend, ids: tuple[str, ...], *, leftovers: bool = False) -> ResolvedIds:
    """Replace names and `@` by job numbers, which stay valid if the request is continued with another daemon.

    With `leftovers` a name also means all ended jobs of that name which have left processes behind.
    """
    if are_numbers(ids):
        return ResolvedIds(ids, ())
    found = caller.call(ListJobs(ids=ids))
    left = found.leftovers if leftovers else ()
    return ResolvedIds((*(job.id for job in found.jobs), *left), found.unknown)
