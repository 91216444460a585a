"""The process and user at the other end of a unix socket. The kernel noted them when the socket was connected, so they cannot be forged."""

from __future__ import annotations

import socket
import struct

_LINUX = struct.Struct("iII")
"""struct ucred of unix(7): pid, uid, gid."""
_MACOS = struct.Struct("IIh")
"""The head of struct xucred of sys/ucred.h: version, uid, number of groups."""
_SOL_LOCAL, _LOCAL_PEERCRED, _LOCAL_PEERPID = 0, 1, 2
"""sys/un.h of macOS; Python has no names for them. getpeereid(3) asks for the same."""
_XUCRED_BYTES = 76


def peer_of(sock: socket.socket) -> tuple[int, int]:
    """pid and uid of the process that connected, or, of a client's socket, that listens. The pid is 0 where the system does
    not tell. Raises OSError."""
    if hasattr(socket, "SO_PEERCRED"):
        answer = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _LINUX.size)
        pid, uid, _ = _LINUX.unpack(answer)
        return pid, uid
    answer = sock.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED_BYTES)
    _, uid, _ = _MACOS.unpack_from(answer)
    pid = int.from_bytes(sock.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID, 4), "little")
    return pid, uid
