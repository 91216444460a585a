"""Clients of servers that are stopped, of relays, and of pipes that a server keeps open: `python relays.py NAME [PORT]`.

Every one ends by itself after 120 s. Those of HANGS never go on; those of WORKS only look so, and would.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time

from watchers import serves_datagrams

LIFETIME = 120


def _stopped(server: socket.socket) -> None:
    """A child that has the listening socket alone, and is suspended."""
    child = os.fork()
    if child == 0:
        signal.pause()
    server.close()
    os.kill(child, signal.SIGSTOP)


def asks_a_stopped_server() -> None:
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(server.getsockname())
    _stopped(server)
    client.sendall(b"?")
    client.recv(1)


def asks_a_stopped_server_by_path() -> None:
    server = socket.socket(socket.AF_UNIX)
    server.bind(b"\0corral-zoo-%d" % os.getpid())
    server.listen()
    client = socket.socket(socket.AF_UNIX)
    client.connect(server.getsockname())
    _stopped(server)
    client.recv(1)


def sends_to_a_stopped_server() -> None:
    """As `nc` does: the socket stands there twice, once for room, and its input for nothing."""
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(server.getsockname())
    _stopped(server)
    client.setblocking(False)
    try:
        while True:
            client.send(bytes(1 << 16))
    except BlockingIOError:
        pass
    entries = b"".join(
        fd.to_bytes(4, sys.byteorder) + events.to_bytes(4, sys.byteorder)
        for fd, events in [(0, 0), (client.fileno(), select.POLLOUT), (client.fileno(), select.POLLIN)]
    )
    _poll(entries, 3)


def _poll(entries: bytes, count: int) -> None:
    """poll(2) as it is: that of Python has each descriptor once."""
    import ctypes

    ctypes.CDLL(None).poll(ctypes.create_string_buffer(entries), count, -1)


def asks_through_a_relay() -> None:
    """What is behind that is suspended; the relay itself watches both sides."""
    upstream = socket.create_server(("127.0.0.1", 0))
    front = socket.create_server(("127.0.0.1", 0))
    address = upstream.getsockname()
    if os.fork() == 0:
        onward = socket.create_connection(address)
        upstream.close()
        client = front.accept()[0]
        onward.sendall(client.recv(1))
        select.select([client, onward], [], [])
    _stopped(upstream)
    client = socket.create_connection(front.getsockname())
    front.close()
    client.sendall(b"?")
    client.recv(1)


def waits_for_the_end_of_a_pipe() -> None:
    """A server has it that went into the background: whoever started it has ended."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            os.close(reader)
            socket.create_server(("127.0.0.1", 0)).accept()
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    os.read(reader, 1)


HANGS = (
    asks_a_stopped_server, asks_a_stopped_server_by_path, sends_to_a_stopped_server, asks_through_a_relay,
    waits_for_the_end_of_a_pipe,
)  # fmt: skip


def asks() -> None:
    """Somebody else's server, which will answer."""
    client = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
    client.sendall(b"?")
    client.recv(1)


def hears_datagrams_at_a_high_port() -> None:
    serves_datagrams(range(45000, 46000))


def watches_the_terminal_for_a_time() -> None:
    select.select([0], [], [], 1000)


WORKS = (asks, hears_datagrams_at_a_high_port, watches_the_terminal_for_a_time)


# ---- servers beside the jobs --------------------------------------------------------------------------------------


def pauses(server: socket.socket) -> None:
    """It never takes a connection."""
    signal.pause()


def sleeps(server: socket.socket) -> None:
    """It takes one, and will answer later."""
    kept = server.accept()
    time.sleep(1000)
    kept[0].close()


def looks_round(server: socket.socket) -> None:
    """It takes one, and looks again and again whether there is something to answer."""
    kept = server.accept()
    while not select.select([server], [], [], 0.1)[0]:
        pass
    kept[0].close()


SERVERS = (pauses, sleeps, looks_round)


if __name__ == "__main__":
    signal.alarm(LIFETIME)
    name = sys.argv[1]
    servers = {one.__name__: one for one in SERVERS}
    if name in servers:
        servers[name](socket.socket(fileno=int(sys.argv[2])))
    {one.__name__: one for one in (*HANGS, *WORKS)}[name]()
