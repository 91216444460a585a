"""What is open on the whole machine, its locks and the backends of its databases: read once, kept for a moment."""

from __future__ import annotations

from itertools import islice

from corral.platform.host.procfs import pids, read_stat
from corral.platform.inspect.file_locks import HeldLock, read_locks
from corral.platform.inspect.open_files import descriptors_of
from corral.waits.postgres import PostgresBackend, backends_of

KEPT_SECONDS = 0.8
"""How long the open files of the machine and its locks are believed. A job is first looked at when it has been still for longer."""
MOST_DESCRIPTORS = 8_000
"""Descriptors that are looked at, of one job and of the whole machine; 3 µs each, while others wait for their answers."""
SHARED_LINKS = ("pipe:[", "socket:[", "/")


class MachineFiles:
    """Which process has what open. `renew` forgets what is older than `KEPT_SECONDS`."""

    def __init__(self) -> None:
        self.read_at = 0.0
        self.is_cut = False
        self._pids_by_link: dict[str, list[int]] | None = None
        self._hidden = False
        self._locks: list[HeldLock] | None = None
        self._backends: dict[int, list[PostgresBackend]] = {}

    def renew(self, now: float) -> None:
        if now - self.read_at > KEPT_SECONDS:
            self.read_at = now
            self._pids_by_link = self._locks = None
            self._backends = {}

    def holders_of(self, link: str) -> tuple[list[int], bool]:
        """The processes that have it open, and whether all could be looked at."""
        if self._pids_by_link is None:
            self._index()
        assert self._pids_by_link is not None
        return self._pids_by_link.get(link, []), not self._hidden

    def forget_locks(self) -> None:
        self._locks = None

    def backends(self, server: int) -> list[PostgresBackend]:
        if server not in self._backends:
            self._backends[server] = backends_of(server)
        return self._backends[server]

    def locks(self) -> list[HeldLock]:
        if self._locks is None:
            self._locks = read_locks()
        return self._locks

    def _index(self) -> None:
        """Link to the processes that have it open, of pipes, sockets and files; whether some could not be looked at."""
        found: dict[str, list[int]] = {}
        self._hidden = self.is_cut = False
        left = MOST_DESCRIPTORS
        for pid in pids():
            links = {link for _, link in islice(descriptors_of(pid), left)}
            if not links and _may_be_hidden(pid):
                self._hidden = True
            for link in links:
                if link.startswith(SHARED_LINKS):
                    found.setdefault(link, []).append(pid)
            left -= len(links)
            if left <= 0:
                self.is_cut = True
                break
        self._hidden = self._hidden or self.is_cut
        self._pids_by_link = found


def _may_be_hidden(pid: int) -> bool:
    """Kernel threads have no descriptors; another process that shows none may not be looked at, or has ended."""
    stat = read_stat(pid)
    return stat is not None and stat.resident_bytes > 0
