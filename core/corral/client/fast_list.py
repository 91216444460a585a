"""The list of jobs for `corral ps`, without msgspec and the typed protocol, which take 35 ms to load.

It speaks the same protocol. Anything unusual is left to the typed client, which has an error message for it.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from typing import IO, Any, NamedTuple

from corral.model.home import Home
from corral.protocol.address import dial
from corral.protocol.protocol_number import PROTOCOL
from corral.version import __version__

_PATIENCE = 5.0
"""Seconds for each read; after that the typed client reports the silent daemon."""


class FastList(NamedTuple):
    """Jobs as JSON objects with the keys of the contract, a line for each id that is no job, and what else to say."""

    jobs: list[dict[str, Any]]
    unknown: list[str]
    leftovers: dict[str, int]
    """How many processes live on of ended jobs, by id."""
    notices: list[str]
    """What the daemon tells the first command line client."""


def fast_list(
    home: Home, ids: Sequence[str] = (), *, everything: bool = False, states: Sequence[str] = ()
) -> FastList | None:
    """The jobs that a running daemon names; None where none runs or anything is unusual. Starts nothing."""
    try:
        with dial(home) as sock:
            sock.settimeout(_PATIENCE)
            return _ask(sock, ids, everything, states)
    except (OSError, ValueError):
        return None  # The caller tries the typed client, which reports what is wrong.


def _ask(sock: socket.socket, ids: Sequence[str], everything: bool, states: Sequence[str]) -> FastList | None:
    hello = {
        "id": 1,
        "op": "hello",
        "version": __version__,
        "protocol": PROTOCOL,
        "client": "command_line",
        "parent": os.environ.get("CORRAL_JOB_ID"),
        "parts": True,
    }
    wanted = {"id": 2, "op": "list", "ids": list(ids), "all": everything, "states": list(states)}
    sock.sendall(f"{json.dumps(hello)}\n{json.dumps(wanted)}\n".encode())
    with sock.makefile("rb") as lines:
        greeting = _answer(lines, 1)
        if greeting is None or greeting.get("protocol") != PROTOCOL:
            return None
        found = _answer(lines, 2)
    if found is None:
        return None
    return FastList(found["jobs"], found["unknown"], found.get("leftovers", {}), greeting.get("notices", []))


def _answer(lines: IO[bytes], number: int) -> dict[str, Any] | None:
    """The reply to request `number`, a long list of jobs whole; None for an error or the end."""
    jobs: list[dict[str, Any]] = []
    while True:
        reply = json.loads(lines.readline() or b"{}")
        answer = reply.get("ok") if reply.get("id") == number else None
        if isinstance(answer, dict):
            if jobs:
                answer["jobs"] = jobs + answer["jobs"]
            return answer
        if answer is not None or "part" not in reply:
            return None
        jobs += reply["part"]
