"""For how long either side of a TCP connection has sent nothing, from sock_diag(7). Of our own network namespace only."""

from __future__ import annotations

import ipaddress
import socket
import struct
from typing import NamedTuple

from corral.system.sockdiag import ask, attribute

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
