"""What sock_diag(7) tells of sockets and no file in /proc does: peers, listeners, silence of TCP connections.

Of our own network namespace only.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST, _NLM_F_DUMP = 1, 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_HEADER = 16
"""Bytes of a nlmsghdr."""
_LISTENING = 1 << 10
_ANY_STATE = _ANY_COOKIE = 0xFFFFFFFF
_UDIAG_SHOW_PEER, _UDIAG_SHOW_ICONS = 4, 8
_UNIX_DIAG_PEER, _UNIX_DIAG_ICONS = 2, 3
_UNIX_MESSAGE = 16
"""Bytes of a unix_diag_msg, in which the inode stands at 4 (linux/unix_diag.h)."""
_INODE_OF_INTERNET = 68
"""Where the inode stands in an inet_diag_msg (linux/inet_diag.h)."""
_REQ_BYTECODE = 1
_ONLY_AUTOBOUND = struct.pack("=BBH", 6, 4, 8)
"""One inet_diag_bc_op: INET_DIAG_BC_AUTO, 4 bytes on where it holds, beyond the end where not."""


def ask(body: bytes, *, is_dump: bool = False) -> list[bytes] | None:
    """The messages of the answer, without their headers; None where it cannot be asked, or there is no such socket."""
    if not hasattr(socket, "AF_NETLINK"):
        return None
    flags = _NLM_F_REQUEST | (_NLM_F_DUMP if is_dump else 0)
    header = struct.pack("=IHHII", _HEADER + len(body), _SOCK_DIAG_BY_FAMILY, flags, 1, 0)
    found: list[bytes] = []
    try:
        with socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG
        ) as asked:
            asked.settimeout(0.2)
            asked.send(header + body)
            while True:
                for kind, message in _messages(asked.recv(65536)):
                    if kind == _NLMSG_DONE:
                        return found
                    if kind == _NLMSG_ERROR:
                        return None
                    found.append(message)
                if not is_dump:
                    return found
    except OSError:
        # EPROTONOSUPPORT where the kernel has no such module, EPERM in some containers.
        return None


def _messages(raw: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place + _HEADER <= len(raw):
        length, kind = struct.unpack_from("=IH", raw, place)
        if length < _HEADER:
            return
        yield kind, raw[place + _HEADER : place + length]
        place += length + 3 & ~3


def attribute(message: bytes, place: int, wanted: int) -> bytes | None:
    """The content of an attribute; `place` is where the first one stands."""
    while place + 4 <= len(message):
        size, kind = struct.unpack_from("=HH", message, place)
        if kind == wanted:
            return message[place + 4 : place + size]
        place += max(4, size + 3 & ~3)
    return None


def _unix(states: int, inode: int, shown: int) -> bytes:
    return struct.pack("=BBHIIIII", socket.AF_UNIX, 0, 0, states, inode, shown, _ANY_COOKIE, _ANY_COOKIE)


def unix_peer(inode: int) -> int | None:
    """The inode of the other end of a unix socket, 0 where that was not accepted yet or is closed; None where it has none, or it cannot be asked."""
    for message in ask(_unix(_ANY_STATE, inode, _UDIAG_SHOW_PEER)) or ():
        peer = attribute(message, _UNIX_MESSAGE, _UNIX_DIAG_PEER)
        if peer is not None and len(peer) >= 4:
            return int(struct.unpack_from("=I", peer)[0])
    return None


def unix_listener(inode: int) -> int | None:
    """The inode of the unix socket that has the connection of this one in its queue, and did not accept it yet."""
    for message in ask(_unix(_LISTENING, 0, _UDIAG_SHOW_ICONS), is_dump=True) or ():
        queue = attribute(message, _UNIX_MESSAGE, _UNIX_DIAG_ICONS) or b""
        if (inode,) in struct.iter_unpack("=I", queue[: len(queue) & ~3]):
            return int(struct.unpack_from("=I", message, 4)[0])
    return None


def is_autobound(inode: int, port: int) -> bool | None:
    """Whether the kernel dealt out the port of a UDP socket, and nobody asked for that one; None where nothing tells."""
    answers = []
    for family in (socket.AF_INET, socket.AF_INET6):
        body = struct.pack("=BBBxI", family, socket.IPPROTO_UDP, 0, _ANY_STATE)
        body += struct.pack("!HH", port, 0) + bytes(32) + struct.pack("=III", 0, _ANY_COOKIE, _ANY_COOKIE)
        body += struct.pack("=HH", 4 + len(_ONLY_AUTOBOUND), _REQ_BYTECODE) + _ONLY_AUTOBOUND
        answers.append(ask(body, is_dump=True))
    if None in answers:
        return None
    messages = [message for answer in answers for message in answer or ()]
    return any(struct.unpack_from("=I", one, _INODE_OF_INTERNET)[0] == inode for one in messages)


_INET_DIAG_INFO = 2
_MESSAGE = 72
"""Bytes of an inet_diag_msg (linux/inet_diag.h)."""
_LAST_DATA_SENT, _LAST_DATA_RECEIVED = 44, 52
"""Where these stand in a tcp_info (linux/tcp.h), in milliseconds; both from the connection's start on."""


class Silence(NamedTuple):
    """Seconds since data came from the other side, and since it was sent some."""

    received: float
    sent: float


def silence_of(local: str, remote: str) -> Silence | None:
    """Of the connection between two `address:port`, the first one ours; None where nothing tells."""
    # A socket of both families has its peer as a mapped address, and is found under the one it was made with.
    for family in (socket.AF_INET, socket.AF_INET6):
        request = _request(family, local, remote)
        for message in () if request is None else ask(request) or ():
            info = attribute(message, _MESSAGE, _INET_DIAG_INFO)
            if info is not None and len(info) >= _LAST_DATA_RECEIVED + 4:
                received, sent = (
                    struct.unpack_from("=I", info, at)[0] for at in (_LAST_DATA_RECEIVED, _LAST_DATA_SENT)
                )
                return Silence(received / 1000, sent / 1000)
    return None


def _request(family: int, local: str, remote: str) -> bytes | None:
    ends = [_packed(family, one) for one in (local, remote)]
    if None in ends:
        return None
    (source, sport), (target, dport) = ends  # type: ignore[misc]
    ports = struct.pack("!HH", sport, dport)
    # inet_diag_req_v2: no cookie, any interface, any state.
    body = struct.pack("=BBBxI", family, socket.IPPROTO_TCP, 1 << (_INET_DIAG_INFO - 1), 0xFFFFFFFF)
    return body + ports + source + target + struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)


def _packed(family: int, end: str) -> tuple[bytes, int] | None:
    """Sixteen bytes of address, and the port."""
    host, _, port = end.rpartition(":")
    address = ipaddress.ip_address(host.strip("[]"))
    if family == socket.AF_INET6 and address.version == 4:
        address = ipaddress.IPv6Address(f"::ffff:{address}")
    if address.version != (4 if family == socket.AF_INET else 6):
        return None
    return address.packed.ljust(16, b"\0"), int(port)
