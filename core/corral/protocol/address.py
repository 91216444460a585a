"""The socket of a home, for paths of any length."""

from __future__ import annotations

import os
import socket
import sys

from corral.model.errors import CorralError
from corral.model.home import Home
from corral.platform.files.peer_credentials import peer_of
from corral.platform.host.path_trust import user_name


def dial(home: Home) -> socket.socket:
    """A connected socket, blocking, to a daemon of our own uid.

    Raises:
        FileNotFoundError, ConnectionRefusedError: no daemon listens.
        CorralError: a process of another user does.

    sun_path holds 108 bytes (unix(7)); through /proc/self/fd of the opened directory every path is short.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _Short(home) as address:
            sock.connect(address)
        _check_peer(sock, home)
    except BaseException:
        sock.close()
        raise
    return sock


def _check_peer(sock: socket.socket, home: Home) -> None:
    """Requests contain our environment, so only our own daemon may receive them."""
    _, uid = peer_of(sock)
    if uid != os.geteuid():
        raise CorralError(
            f"{home.socket} is served by {user_name(uid)}, not by a daemon of yours: remove it,"
            " or set CORRAL_HOME to another directory"
        )


def listen(home: Home) -> socket.socket:
    """Bind and listen at the home's socket, 0600. Only the holder of `daemon.lock` may call this: it unlinks."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        with _Short(home) as address:
            if os.path.lexists(address):
                os.unlink(address)
            sock.bind(address)
        sock.listen(256)
    except BaseException:
        sock.close()
        raise
    finally:
        os.umask(before)
    return sock


class _Short:
    """A path to the socket that fits into sun_path, valid inside the `with`."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._directory: int | None = None

    def __enter__(self) -> str:
        if len(os.fsencode(self._home.socket)) < 100:
            return self._home.socket
        if sys.platform != "linux":
            raise CorralError(
                f"the path {self._home.socket} is too long for a socket; set CORRAL_HOME to a shorter one"
            )
        self._directory = os.open(self._home.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._directory}/socket"

    def __exit__(self, *_: object) -> None:
        if self._directory is not None:
            os.close(self._directory)
