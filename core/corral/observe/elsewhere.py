"""What a process does on a system without /proc: as much as psutil knows, and that it does not know what it waits for."""

from __future__ import annotations

import psutil

REASON = "this system does not tell what a process waits for (it has no /proc)"
MOST_NAMED = 2


def sleeping(pid: int) -> str:
    """What is known of a process that sleeps, to complete a sentence that begins with its name."""
    known = _connections(pid)
    unseen = "sleeps, and what it waits for may not be seen"
    return unseen if not known else f"{unseen}; it {' and '.join(known)}"


def _connections(pid: int) -> list[str]:
    try:
        found = psutil.Process(pid).net_connections(kind="inet")
    except (psutil.Error, OSError):
        return []
    listening = [one for one in found if one.status == psutil.CONN_LISTEN]
    connected = [one for one in found if one.raddr]
    words = [f"listens at {_address(one.laddr)}" for one in listening[:MOST_NAMED]]
    words += [
        f"is connected to {_address(one.raddr)} ({one.status.lower()})" for one in connected[:MOST_NAMED]
    ]
    more = len(listening) + len(connected) - len(words)
    return words + ([f"has {more} connections more"] if more else [])


def _address(address: tuple[str, int] | tuple[()]) -> str:
    if not address:
        return "an unknown address"
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
