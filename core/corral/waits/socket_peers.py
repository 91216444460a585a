"""The other end of a socket in words: whose it is, where, and whether anything comes from there."""

from __future__ import annotations

from corral.platform.host.procfs import read_stat
from corral.platform.inspect.sock_diag import Silence, silence_of
from corral.platform.inspect.sockets import Socket, SocketTables
from corral.waits.process_wait import ProcessWait


def pid_and_name(pid: int) -> str:
    """`4711 (name)`; the pid alone where it is gone."""
    stat = read_stat(pid)
    return f"{pid}" if stat is None else f"{pid} ({stat.name})"


def describe_other_end(
    wait: ProcessWait, one: Socket, tables: SocketTables, who: tuple[int, ...], *, is_accepted: bool
) -> str:
    """The other end of a socket, and who has it."""
    whose = "itself" if who == (wait.pid,) else pid_and_name(who[0]) if who else ""
    told = f"{whose} by {address_of(one, tables)}" if whose else address_of(one, tables)
    return f"{told}, which did not accept the connection yet" if who and not is_accepted else told


def address_of(one: Socket, tables: SocketTables | None = None) -> str:
    """Where it leads to; the path of a unix socket is that of the server, which the tables tell."""
    if one.kind == "unix":
        path = one.local or (_path_of_server(one, tables) if tables is not None else None)
        return f"the unix socket {path}" if path else "a unix socket"
    where = one.remote or f"anybody at {one.local}"
    return f"{where} ({one.kind}, {one.state})"


def _path_of_server(one: Socket, tables: SocketTables) -> str | None:
    """A client's socket has no path; what was accepted has that of the server."""
    other = tables.other_end(one)
    server = tables.find(other) if other else None
    return None if server is None else server.local


def unsent_text(one: Socket) -> str:
    """What was sent and not taken yet, to be put behind it."""
    return f", {one.unsent} bytes unacknowledged" if one.unsent else ""


def silent_for(one: Socket) -> float | None:
    """Seconds since data came; None where nothing tells."""
    silence = _silence_of(one)
    return None if silence is None else silence.received


def is_answer_due(one: Socket) -> bool:
    """Whether an answer may be due: something was sent since something came, as far as is told."""
    silence = _silence_of(one)
    return silence is None or silence.sent <= silence.received


def _silence_of(one: Socket) -> Silence | None:
    if one.kind != "tcp" or one.local is None or one.remote is None:
        return None
    return silence_of(one.local, one.remote)
