"""What sockets of a real process are there for, and for how long the other side has been silent."""

from __future__ import annotations

import os
import socket

import pytest

from corral.platform.host.procfs import HAS_PROCFS
from corral.platform.inspect.sock_diag import silence_of
from corral.platform.inspect.sockets import forget_tables, role_of, tables_of
from until import until

pytestmark = pytest.mark.skipif(not HAS_PROCFS, reason="sockets are read from /proc")


def _role(one: socket.socket) -> str | None:
    return role_of(os.getpid(), os.fstat(one.fileno()).st_ino)


def _shown(address: tuple[str, int]) -> str:
    return f"{address[0]}:{address[1]}"


def _received(ends: tuple[str, str]) -> float:
    silence = silence_of(*ends)
    return 0.0 if silence is None else silence.received


def test_the_role_of_a_socket():
    forget_tables()
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asks,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as serves,
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as hears,
    ):
        asks.bind(("127.0.0.1", 0))
        serves.bind(b"\0corral-test-%d" % os.getpid())
        hears.bind((0, 0))
        roles = [_role(one) for one in (server, client, asks, serves, hears)]
        assert roles == ["listens", "talks", "talks", "serves", "hears"]
        tables = tables_of(os.getpid())
        one = tables.find(os.fstat(client.fileno()).st_ino)
        accepted = server.accept()[0]
        with accepted:
            forget_tables()
            other = tables_of(os.getpid()).other_end(one)
            assert other == os.fstat(accepted.fileno()).st_ino
        assert tables.listeners_at(one.remote) == [os.fstat(server.fileno()).st_ino]


def test_silence_ends_with_a_byte():
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
        server.accept()[0] as accepted,
    ):
        ends = _shown(client.getsockname()), _shown(client.getpeername())
        if silence_of(*ends) is None:
            pytest.skip("this kernel has no inet_diag")
        long = until(lambda: (found := _received(ends)) > 0.05 and found, "some silence")
        accepted.send(b"x")
        until(lambda: (_received(ends)) < long, "the silence to end")
        assert silence_of("127.0.0.1:1", "127.0.0.1:1") is None
