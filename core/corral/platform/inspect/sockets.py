"""Sockets seen from outside: their addresses and state, and the socket at the other end where it is on this machine.

By /proc/PID/net/{tcp,tcp6,udp,udp6,unix}, which are the tables of that process's network namespace (proc_net(5)); the
other end of a unix socket by `sock_diag`, which tells of our own namespace only.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
import time
from collections.abc import Iterator
from functools import lru_cache
from typing import Literal, NamedTuple

from corral.platform.host.procfs import read_all, read_file
from corral.platform.inspect.sock_diag import is_autobound, unix_listener, unix_peer

_TCP_STATES = {
    1: "established", 2: "syn sent", 3: "syn received", 4: "fin wait 1", 5: "fin wait 2", 6: "time wait",
    7: "closed", 8: "close wait", 9: "last ack", 10: "listening", 11: "closing", 12: "new syn received",
}  # fmt: skip
"""From include/net/tcp_states.h."""
_LISTENS = 0x10000
"""SO_ACCEPTON in the flags of /proc/net/unix."""
_INTERNET = ("tcp", "tcp6", "udp", "udp6")
_NOT_ACCEPTED = ("established", "syn received", "close wait")
"""States of a connection without an inode that is still to be accepted; closed ones that linger are in others."""
_EVERYWHERE = ("0.0.0.0", "[::]")  # noqa: S104
_NEWS = (
    "/.X11-unix/X",
    "/wayland-",
    "/system_bus_socket",
    "/bus",
    "/pipewire-",
    "/pulse/native",
    "/run/systemd/",
)
"""In the paths of sockets where clients wait for news as long as they live: of a display, a message bus, sound, or where they write their log."""


class Socket(NamedTuple):
    """One socket. `local` and `remote` are `address:port` or the path of a unix socket; None where it has none.

    `unsent` are bytes that the other side has not acknowledged, `unread` bytes that wait for this side; both 0 where
    not told.
    """

    inode: int
    kind: str
    """`tcp udp unix`."""
    state: str
    local: str | None = None
    remote: str | None = None
    unsent: int = 0
    unread: int = 0
    is_datagram: bool = False

    @property
    def listens(self) -> bool:
        return self.state == "listening"

    @property
    def brings_news(self) -> bool:
        """Whether it is that of a server of which clients mostly hear when something happens, not when they ask."""
        return self.kind == "unix" and self.local is not None and any(one in self.local for one in _NEWS)

    @property
    def is_of_here(self) -> bool:
        """Whether a TCP connection leads to this machine: to a loopback address, or to the one it comes from."""
        if self.local is None or self.remote is None:
            return False
        ours, theirs = (end.rpartition(":")[0] for end in (self.local, self.remote))
        return ours == theirs or ipaddress.ip_address(theirs.strip("[]")).is_loopback


KEPT_SECONDS = 0.8
"""How long the tables of a network namespace are believed."""
_RENEWED_SECONDS = 0.2
"""A socket that is missing in tables older than that may have been made since."""


class SocketTables:
    """The sockets of one network namespace, read once each and kept as text: of thousands only a few are looked for."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._tables: dict[str, bytes] = {}
        self.read_at = time.monotonic()

    def find(self, inode: int) -> Socket | None:
        """The socket with that inode; None for a family that is in no table, or where nothing may be read."""
        number = b" %d" % inode
        for table in (*_INTERNET, "unix"):
            parse = parse_unix if table == "unix" else parse_internet
            for line in _lines_with(self._read(table), number):
                one = parse(line, table[:3])
                if one is not None and one.inode == inode:
                    return one
        return None

    def hears_the_kernel(self, inode: int) -> bool:
        """Whether it is a netlink(7) or a packet(7) socket, on which news come when there are some."""
        number = b"%d" % inode
        return any(
            line.split()[-1:] == [number.decode()]
            for table in ("netlink", "packet")
            for line in _lines_with(self._read(table), number)
        )

    def other_end(self, one: Socket) -> int | None:
        """The inode of the socket at the other end, 0 where that was not accepted yet; None where it is not of this namespace."""
        if one.kind == "unix":
            peer = unix_peer(one.inode)
            return None if peer == 0 and unix_listener(one.inode) is None else peer
        if one.kind != "tcp" or one.remote is None or one.local is None:
            return None
        port = b":%04X " % int(one.remote.rpartition(":")[2])
        for other in self._tcp(port):
            is_there = other.inode or other.state in _NOT_ACCEPTED
            if is_there and other.remote and (other.local, other.remote) == (one.remote, one.local):
                return other.inode
        # Where its queue is full a listener forgets the connection that the client takes for made (listen(2)).
        return 0 if one.state == "established" and self.listeners_for(one) else None

    def listeners_for(self, one: Socket) -> list[int]:
        """The inodes of the sockets that listen where a connection leads to that is not accepted yet."""
        if one.kind == "unix":
            found = unix_listener(one.inode)
            return [] if found is None else [found]
        return self.listeners_at(one.remote) if one.remote and one.is_of_here else []

    def listeners_at(self, address: str) -> list[int]:
        """The inodes of the TCP sockets that listen at an address of this machine."""
        host, _, port = address.rpartition(":")
        places = [f"{each}:{port}" for each in (host, *_EVERYWHERE)]
        return [
            other.inode
            for other in self._tcp(b":%04X " % int(port))
            if other.listens and other.local in places
        ]

    def is_outgoing(self, one: Socket) -> bool:
        """Whether it is a connection that its process made itself, to a server of which it may want an answer."""
        if one.is_datagram or one.listens:
            return False
        if one.kind == "tcp":
            is_made = one.state in ("established", "syn sent") and one.local is not None
            return is_made and not self.listeners_at(one.local or "")
        other = self.other_end(one) if one.local is None else None
        server = self.find(other) if other else None
        is_named = server is not None and server.local is not None and not server.brings_news
        return other == 0 or is_named

    def _tcp(self, piece: bytes) -> Iterator[Socket]:
        for table in ("tcp", "tcp6"):
            for line in _lines_with(self._read(table), piece):
                one = parse_internet(line, "tcp")
                if one is not None:
                    yield one

    def _read(self, table: str) -> bytes:
        if table not in self._tables:
            self._tables[table] = read_all(f"/proc/{self._pid}/net/{table}") or b""
        return self._tables[table]


def _lines_with(text: bytes, piece: bytes) -> Iterator[str]:
    """The lines in which it stands, but the first, which names the columns."""
    at = text.find(piece, text.find(b"\n"))
    while at >= 0:
        end = text.find(b"\n", at)
        end = len(text) if end < 0 else end
        yield text[text.rfind(b"\n", 0, at) + 1 : end].decode("utf-8", "replace")
        at = text.find(piece, end)


_kept: dict[int, SocketTables] = {}


def tables_of(pid: int, inode: int | None = None) -> SocketTables:
    """The tables of the network namespace of `pid`, at most 2 s old; read again where `inode` is not in them."""
    try:
        namespace = os.stat(f"/proc/{pid}/ns/net").st_ino
    except OSError:
        return SocketTables(pid)
    now = time.monotonic()
    for old in [key for key, tables in _kept.items() if now - tables.read_at > KEPT_SECONDS]:
        del _kept[old]
    tables = _kept.get(namespace)
    is_old = tables is not None and now - tables.read_at > _RENEWED_SECONDS
    if tables is None or (is_old and inode is not None and tables.find(inode) is None):
        tables = _kept[namespace] = SocketTables(pid)
    return tables


def forget_tables() -> None:
    """Forget the tables; the next question reads them again."""
    _kept.clear()


SocketRole = Literal["listens", "serves", "hears", "connects", "talks"]


def role_of(pid: int, inode: int) -> SocketRole | None:
    """What a socket of that process is there for; None for a family that is in no table.

    `listens` for connections; `serves`: a datagram socket that has no peer and asked for its address, where clients
    find it; `hears` what the kernel tells; `connects`: is about to; `talks` to somebody.
    """
    tables = tables_of(pid, inode)
    one = tables.find(inode)
    if one is None:
        return "hears" if tables.hears_the_kernel(inode) else None
    if one.listens:
        return "listens"
    if one.state == "syn sent":
        return "connects"
    return "serves" if _is_found_by_clients(one) else "talks"


def is_nameless(pid: int, inode: int) -> bool:
    """Whether it is a unix socket that is connected and has no path: a client's, or one of a pair."""
    one = tables_of(pid, inode).find(inode)
    return one is not None and one.kind == "unix" and one.local is None and one.state == "connected"


def _is_found_by_clients(one: Socket) -> bool:
    """A client that never asked for a port was dealt one out by the kernel (ip(7))."""
    if not one.is_datagram or one.remote is not None or one.state != "unconnected" or one.local is None:
        return False
    if one.kind == "unix":
        return True
    port = int(one.local.rpartition(":")[2])
    lowest, highest = _dealt_out()
    if lowest <= port <= highest:
        # It may have asked for that very one. Where nobody tells, it is not taken for a client that is left waiting.
        return is_autobound(one.inode, port) is not True
    return port != 0


@lru_cache(maxsize=1)
def _dealt_out() -> tuple[int, int]:
    fields = (read_file("/proc/sys/net/ipv4/ip_local_port_range") or b"32768 60999").split()
    return int(fields[0]), int(fields[1])


def parse_internet(line: str, kind: str) -> Socket | None:
    """One line of /proc/net/tcp and its kin."""
    fields = line.split()
    if len(fields) < 10:
        return None
    local, remote, queues = fields[1], fields[2], fields[4]
    sent, _, received = queues.partition(":")
    has_peer = not remote.endswith(":0000")
    state = (
        _TCP_STATES.get(int(fields[3], 16), "?")
        if kind == "tcp"
        else "connected"
        if has_peer
        else "unconnected"
    )
    return Socket(
        int(fields[9]),
        kind,
        state,
        address(local),
        address(remote) if has_peer else None,
        int(sent, 16),
        int(received, 16),
        kind == "udp",
    )


def parse_unix(line: str, kind: str) -> Socket | None:
    """One line of /proc/net/unix; kind is not needed there."""
    fields = line.split(maxsplit=7)
    if len(fields) < 7 or not fields[6].isdigit():
        return None
    listens = int(fields[3], 16) & _LISTENS
    state = (
        "listening"
        if listens
        else {1: "unconnected", 2: "connecting", 3: "connected"}.get(int(fields[5], 16), "?")
    )
    path = fields[7] if len(fields) > 7 else None
    return Socket(int(fields[6]), "unix", state, path, is_datagram=int(fields[4], 16) == socket.SOCK_DGRAM)


def address(text: str) -> str:
    """`0100007F:1F90` as `127.0.0.1:8080`: each word of the address is in the machine's byte order."""
    host, _, port = text.partition(":")
    words = [int(host[at : at + 8], 16) for at in range(0, len(host), 8)]
    raw = b"".join(struct.pack("=I", word) for word in words)
    found = ipaddress.ip_address(raw)
    mapped = getattr(found, "ipv4_mapped", None)
    found = mapped or found
    shown = f"[{found}]" if found.version == 6 else str(found)
    return f"{shown}:{int(port, 16)}"
