"""Sockets seen from outside: their addresses and state, and the socket at the other end where it is on this machine.

By /proc/PID/net/{tcp,tcp6,udp,udp6,unix}, which are the tables of that process's network namespace (proc_net(5)); the
other end of a unix socket by sock_diag(7), which tells of our own namespace only.
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

from corral.system.procfs import read_all, read_file

_TCP_STATES = {
    1: "established", 2: "syn sent", 3: "syn received", 4: "fin wait 1", 5: "fin wait 2", 6: "time wait",
    7: "closed", 8: "close wait", 9: "last ack", 10: "listening", 11: "closing", 12: "new syn received",
}  # fmt: skip
"""From include/net/tcp_states.h."""
_LISTENS = 0x10000
"""SO_ACCEPTON in the flags of /proc/net/unix."""
_INTERNET = ("tcp", "tcp6", "udp", "udp6")
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_UDIAG_SHOW_PEER = 4
_UNIX_DIAG_PEER = 2


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
        """The inode of the socket at the other end, where that is of this namespace and was accepted already."""
        if one.kind == "unix":
            return unix_peer(one.inode)
        if one.kind != "tcp" or one.remote is None or one.local is None:
            return None
        port = b":%04X " % int(one.remote.rpartition(":")[2])
        for other in self._tcp(port):
            if other.inode and other.remote and (other.local, other.remote) == (one.remote, one.local):
                return other.inode
        return None

    def listener_at(self, address: str) -> int | None:
        """The inode of the TCP socket that listens there, for a connection that is not accepted yet."""
        port = address.rpartition(":")[2]
        for other in self._tcp(b":%04X " % int(port)):
            if other.listens and other.local and other.local.rpartition(":")[2] == port:
                return other.inode
        return None

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
    """The tables of the network namespace of `pid`, at most 2 s old; anew where `inode` is not in them."""
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
    """Read all anew when asked again."""
    _kept.clear()


Role = Literal["listens", "serves", "hears", "connects", "talks"]


def role_of(pid: int, inode: int) -> Role | None:
    """What a socket of that process is there for; None for a family that is in no table.

    `listens` for connections; `serves`: a datagram socket that has an address of its own and no peer, where clients
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


def _is_found_by_clients(one: Socket) -> bool:
    """A client that never asked for a port has one of those that the kernel deals out (ip(7))."""
    if not one.is_datagram or one.remote is not None or one.state != "unconnected" or one.local is None:
        return False
    if one.kind == "unix":
        return True
    port = int(one.local.rpartition(":")[2])
    lowest, highest = _dealt_out()
    return port != 0 and not lowest <= port <= highest


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


def unix_peer(inode: int) -> int | None:
    """The inode of the other end of a unix socket (sock_diag(7)); None where it has none, or it cannot be asked."""
    if not hasattr(socket, "AF_NETLINK"):
        return None
    request = struct.pack(
        "=BBHIIIII", socket.AF_UNIX, 0, 0, 0xFFFFFFFF, inode, _UDIAG_SHOW_PEER, 0xFFFFFFFF, 0xFFFFFFFF
    )
    header = struct.pack("=IHHII", 16 + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0)
    try:
        with socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG
        ) as asked:
            asked.settimeout(0.2)
            asked.send(header + request)
            return _peer_in(asked.recv(4096))
    except OSError:
        # EPROTONOSUPPORT where the kernel has no unix_diag, EPERM in some containers.
        return None


def _peer_in(reply: bytes) -> int | None:
    """The attribute UNIX_DIAG_PEER of a reply: behind the header of 16 bytes and a unix_diag_msg of 16."""
    length, kind = struct.unpack_from("=IH", reply)
    place = 32
    if kind != _SOCK_DIAG_BY_FAMILY:
        return None
    while place + 4 <= min(length, len(reply)):
        size, attribute = struct.unpack_from("=HH", reply, place)
        if attribute == _UNIX_DIAG_PEER and size >= 8:
            return int(struct.unpack_from("=I", reply, place + 4)[0])
        place += max(4, size + 3 & ~3)
    return None
