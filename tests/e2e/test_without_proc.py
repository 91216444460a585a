"""A system without /proc: what psutil knows is told, what nobody knows is not guessed."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from corral.protocol import requests as p
from corral.waits import unreadable
from e2e.daemons import Daemons, altered, job, start
from managers import python
from until import until

POORER = """
from corral.platform.process import cpu_clock
for module in list(sys.modules.values()):
    if module.__name__.startswith("corral.") and hasattr(module, "HAS_PROCFS"):
        module.HAS_PROCFS = False
cpu_clock._HAS_CLOCK = False
"""


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[Daemons]:
    with altered(tmp_path / "home", POORER) as made:
        yield made


def test_what_psutil_knows_is_told_and_nothing_guessed(daemons: Daemons) -> None:
    serves = "import socket, signal; s = socket.create_server(('127.0.0.1', 0)); signal.pause()"
    with daemons.client(start=False) as client:
        lines = {"sleeps": ["sleep", "60"], "stops": ["sh", "-c", "kill -STOP $$"], "serves": python(serves)}
        lines["computes"] = python("while True: pass")
        ids = {name: start(client, line, stuck_after=0.5)[0] for name, line in lines.items()}
        (piped,) = start(client, "cat /dev/zero | sleep 60", stuck_after=0.5)

        def why(name: str) -> str:
            return client.call(p.AskWhy(job=ids[name], stacks=True), timeout=20).summary

        unseen = "sleep sleeps; what it waits for cannot be seen"
        until(lambda: why("sleeps") == unseen, "the sleep to be seen")
        stopped = f"sh was stopped by a signal; `corral resume {ids['stops']}` lets it go on"
        until(lambda: why("stops") == stopped, "the other to be suspended")
        until(lambda: "; it listens at 127.0.0.1:" in why("serves"), "the server to listen")
        assert why("computes").endswith(" is busy")
        found = client.call(p.AskWhy(job=piped, stacks=True), timeout=20)
        assert found.health != "stuck"
        assert found.not_looked_at
        assert all(unreadable.REASON in said for said in found.not_looked_at)
        (pipe,) = client.call(p.PeekPipes(job=piped, bytes=10), timeout=20).pipes
        assert (pipe.fill_bytes, pipe.content) == (None, None)
        assert pipe.note is not None
        (pipe,) = job(client, piped).pipes
        assert (pipe.fill_bytes, pipe.bytes_total, pipe.exact) == (None, None, False)


def test_connections_are_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        host, port = server.getsockname()
        assert f"it listens at {host}:{port} and is connected to {host}:{port}" in unreadable.sleeping(
            os.getpid()
        )
