"""The quick form of `reliability/fuzz.py`: hostile bytes, and what each client may cost at most."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from corral.daemon import client_limits
from corral.daemon.client_limits import Clients, TooManyClientsError
from reliability.fuzz import Fuzz


@pytest.fixture
def fuzz(tmp_path: Path) -> Iterator[Fuzz]:
    made = Fuzz(tmp_path, examples=12, seed=7)
    yield made
    made.end()


def test_hostile_bytes_cost_at_most_their_connection(fuzz: Fuzz) -> None:
    attacks = (fuzz.requests, fuzz.broken, fuzz.descriptors, lambda: fuzz.half_lines(140))
    fuzz.attack("of four kinds", lambda: sum(act() for act in attacks))


class Client:
    """As the daemon sees one."""

    def __init__(self, to: Clients, since: float = 0.0) -> None:
        self.to, self.since = to, since
        self.held_bytes = 0
        self.takes = True
        self.is_open = True
        to.add(self)  # type: ignore[arg-type]

    def hold(self, size: int) -> None:
        self.held_bytes = size
        self.to.note_held(self)  # type: ignore[arg-type]

    def is_stalled(self, seconds: float) -> bool:
        return not self.takes

    def close(self) -> None:
        self.is_open = False
        self.to.forget(self)  # type: ignore[arg-type]


def greeted(to: Clients) -> Client:
    made = Client(to)
    to.note_greeted(made)  # type: ignore[arg-type]
    return made


async def test_who_never_says_hello_makes_room_and_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_limits, "MOST_UNGREETED", 2)
    monkeypatch.setattr(client_limits, "MOST_CLIENTS", 10)
    some = Clients()
    old, young, friend = Client(some, 1.0), Client(some, 9.0), greeted(some)
    some.make_room()
    assert [one.is_open for one in (old, young, friend)] == [False, True, True]
    some.drop_silent(9.0 + client_limits.HELLO_SECONDS - 0.1)
    assert young.is_open
    some.drop_silent(9.0 + client_limits.HELLO_SECONDS)
    assert [young.is_open, friend.is_open] == [False, True]
    others = [greeted(some) for _ in range(9)]
    with pytest.raises(TooManyClientsError, match="10 clients"):
        some.make_room()
    others[0].close()
    some.make_room()
    assert len(some) == 9


async def test_who_takes_nothing_goes_when_all_together_cost_too_much() -> None:
    some = Clients()
    reads, idle, stalled, worse = (greeted(some) for _ in range(4))
    idle.takes = stalled.takes = worse.takes = False
    reads.hold(client_limits.MOST_HELD // 2)
    stalled.hold(client_limits.MOST_HELD // 4)
    worse.hold(client_limits.MOST_HELD // 3)
    assert [one.is_open for one in (reads, idle, stalled, worse)] == [True, True, True, False]
    stalled.hold(0)
    reads.hold(2 * client_limits.MOST_HELD)
    assert reads.is_open
    reads.hold(2 * client_limits.MOST_HELD + 1)
    assert [one.is_open for one in (reads, idle, stalled)] == [False, True, True]
    idle.hold(client_limits.MOST_HELD)
    assert idle.is_open
