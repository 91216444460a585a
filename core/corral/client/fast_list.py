"""The list of jobs for `corral ps`, without msgspec and the typed protocol, which take 35 ms to load.

It speaks the same protocol. Anything unusual is left to the typed client, which has an error message for it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from corral.model.errors import CorralError
from corral.model.home import Home
from corral.protocol.address import dial
from corral.protocol.protocol_number import PROTOCOL
from corral.version import __version__

TYPE_CHECKING = False  # typing, which has it, takes longer to load than the rest of `ps`
if TYPE_CHECKING:
    from typing import Any

_PATIENCE = 5.0
"""Seconds for each read; after that the typed client reports the silent daemon."""


class FastList:
    """Jobs as JSON objects with the keys of the contract, some at a time: however many there are, few are in memory.

    Args:
        answers: the lines of the answer, the last one with all that is not a job.
        notices: what the daemon tells the first command line client.
    """

    def __init__(self, answers: Iterable[dict[str, Any]], notices: Sequence[str] = ()) -> None:
        self._answers = answers
        self.notices = notices
        self.unknown: Sequence[str] = ()
        """A line for each id that is no job; known once all jobs were read, as is `leftovers`."""
        self.leftovers: dict[str, int] = {}
        """How many processes live on of ended jobs, by id."""

    def __iter__(self) -> Iterator[list[dict[str, Any]]]:
        for answer in self._answers:
            self.unknown = answer.get("unknown", ())
            self.leftovers = answer.get("leftovers", {})
            yield answer["jobs"]


def fast_list(
    home: Home, ids: Sequence[str] = (), *, everything: bool = False, states: Sequence[str] = ()
) -> FastList | None:
    """The jobs that a running daemon names; None where none runs or anything is unusual. Starts nothing.

    Reading on raises CorralError where the daemon goes away in the middle of a long list.
    """
    answers = _answers(home, {"ids": list(ids), "all": everything, "states": list(states)})
    try:
        greeting, first = next(answers), next(answers)
    except (OSError, ValueError, StopIteration):
        return None  # The caller tries the typed client, which reports what is wrong.
    return FastList(chain([first], _whole(answers)), greeting.get("notices", ()))


def _answers(home: Home, wanted: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The greeting, and then the lines of the list; none more after anything unusual."""
    hello = {
        "id": 1,
        "op": "hello",
        "version": __version__,
        "protocol": PROTOCOL,
        "client": "command_line",
        "parent": os.environ.get("CORRAL_JOB_ID"),
        "parts": True,
    }
    with dial(home) as sock:
        sock.settimeout(_PATIENCE)
        sock.sendall(f"{json.dumps(hello)}\n{json.dumps({'id': 2, 'op': 'list', **wanted})}\n".encode())
        with sock.makefile("rb") as lines:
            greeting = json.loads(lines.readline() or b"{}")
            if greeting.get("id") != 1 or greeting.get("ok", {}).get("protocol") != PROTOCOL:
                return
            yield greeting["ok"]
            while (reply := json.loads(lines.readline() or b"{}")).get("id") == 2 and "error" not in reply:
                yield reply["ok"] if "ok" in reply else {"jobs": reply["part"]}
                if "ok" in reply:
                    return
    raise ConnectionResetError


def _whole(answers: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    try:
        yield from answers
    except (OSError, ValueError):
        raise CorralError("the daemon went away in the middle of the list: it is incomplete") from None
