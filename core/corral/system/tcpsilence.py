"""For how long the other side of a TCP connection has sent nothing, from sock_diag(7). Of our own network namespace only."""

from __future__ import annotations

import ipaddress
import socket
import struct

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_INET_DIAG_INFO = 2
_HEADER, _MESSAGE = 16, 72
"""Bytes of a nlmsghdr and of an inet_diag_msg (linux/inet_diag.h)."""
_LAST_DATA_RECEIVED = 52
"""Where tcpi_last_data_recv stands in a tcp_info (linux/tcp.h), in milliseconds; from the connection's start on."""


def seconds_of_silence(local: str, remote: str) -> float | None:
    """Of the connection between two `address:port`, the first one ours; None where nothing tells."""
    if not hasattr(socket, "AF_NETLINK"):
        return None
    # A socket of both families has its peer as a mapped address, and is found under the one it was made with.
    for family in (socket.AF_INET, socket.AF_INET6):
        request = _request(family, local, remote)
        reply = None if request is None else _ask(request)
        milliseconds = None if reply is None else _last_data(reply)
        if milliseconds is not None:
            return milliseconds / 1000
    return None


def _request(family: int, local: str, remote: str) -> bytes | None:
    ends = [_packed(family, one) for one in (local, remote)]
    if None in ends:
        return None
    (source, sport), (target, dport) = ends  # type: ignore[misc]
    ports = struct.pack("!HH", sport, dport)
    # inet_diag_req_v2: no cookie, any interface, any state.
    body = struct.pack("=BBBxI", family, socket.IPPROTO_TCP, 1 << (_INET_DIAG_INFO - 1), 0xFFFFFFFF)
    body += ports + source + target + struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
    return struct.pack("=IHHII", _HEADER + len(body), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0) + body


def _packed(family: int, end: str) -> tuple[bytes, int] | None:
    """Sixteen bytes of address, and the port."""
    host, _, port = end.rpartition(":")
    address = ipaddress.ip_address(host.strip("[]"))
    if family == socket.AF_INET6 and address.version == 4:
        address = ipaddress.IPv6Address(f"::ffff:{address}")
    if address.version != (4 if family == socket.AF_INET else 6):
        return None
    return address.packed.ljust(16, b"\0"), int(port)


def _ask(request: bytes) -> bytes | None:
    try:
        with socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG
        ) as asked:
            asked.settimeout(0.2)
            asked.send(request)
            return asked.recv(8192)
    except OSError:
        # EPROTONOSUPPORT where the kernel has no inet_diag, EPERM in some containers.
        return None


def _last_data(reply: bytes) -> int | None:
    length, kind = struct.unpack_from("=IH", reply)
    place = _HEADER + _MESSAGE
    if kind != _SOCK_DIAG_BY_FAMILY:
        return None
    while place + 4 <= min(length, len(reply)):
        size, attribute = struct.unpack_from("=HH", reply, place)
        if attribute == _INET_DIAG_INFO and size >= 4 + _LAST_DATA_RECEIVED + 4:
            return int(struct.unpack_from("=I", reply, place + 4 + _LAST_DATA_RECEIVED)[0])
        place += max(4, size + 3 & ~3)
    return None
