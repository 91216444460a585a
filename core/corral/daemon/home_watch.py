"""Repairing the home of a running daemon: files were removed or replaced, or the whole folder was moved or removed.

Checked in each tick, by a few calls of stat(2). What is missing is recreated, from open files and from memory; a folder
that was moved is followed. Each repair is reported in daemon.log, and to the next command.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from typing import Protocol

from corral.daemon.home_lock import take_lock
from corral.home.directory import prepare_home
from corral.journal.journal import Journal
from corral.journal.rewrite import FileId, file_id
from corral.model.errors import CorralError
from corral.model.home import Home
from corral.model.wire import to_wire
from corral.platform.files.descriptors import move_high
from corral.platform.host.daemon_log import log
from corral.protocol.address import listen

OUTPUT_LOST = "the output so far is lost, and so is what running jobs still print; new jobs keep their output"
RETRY_SECONDS = 2.0
"""Until the next attempt after one failed."""
_ONLY_LOOK = getattr(os, "O_PATH", os.O_RDONLY)


class HomeOwner(Protocol):
    """The daemon, as far as its home goes."""

    lock: int | None
    """The descriptor of the lock on the home; None where nobody else knows the home."""

    @property
    def is_private(self) -> bool: ...

    @property
    def is_needed(self) -> bool:
        """Whether there are jobs or clients."""

    @property
    def listener(self) -> socket.socket | None: ...

    def listen_at(self, listener: socket.socket) -> None: ...

    def move_to(self, home: Home, on_refusal: Callable[[CorralError], None]) -> None: ...

    def end_now(self) -> None: ...


class HomeWatch:
    """Watches the home of one daemon, which holds its lock."""

    def __init__(self, daemon: HomeOwner, home: Home, journal: Journal) -> None:
        self._daemon = daemon
        self._journal = journal
        self._home = home
        self._folder = self._opened()
        self._jobs = file_id(self._home.jobs)
        self._noted = _written(self._home.identity_file)
        self._socket: FileId | None = None
        self._logs_there = _leads_to(self._home.daemon_log, 2)
        self._problem: str | None = None
        self._retry_at = 0.0
        self._is_left = False

    def note_socket(self) -> None:
        """The file at the path of the socket is ours now."""
        self._socket = file_id(self._home.socket)

    def remove_socket(self) -> None:
        """Unless it belongs to another daemon by now."""
        if self._socket is not None and file_id(self._home.socket) == self._socket:
            os.unlink(self._home.socket)

    def look(self) -> None:
        """Check, and repair what is wrong. A problem is logged once, and retried."""
        if self._is_left or time.monotonic() < self._retry_at:
            return
        try:
            if _leads_to(self._home.path, self._folder):
                self._look_at_parts()
            else:
                self._look_for_folder()
            self._problem = None
        except (CorralError, OSError) as error:
            self._retry_at = time.monotonic() + RETRY_SECONDS
            text = f"{self._home.path} was changed, and cannot be repaired: {error}"
            if text != self._problem:
                self._problem = text
                log(text)

    def _say(self, text: str) -> None:
        log(text)
        notice = to_wire(text)
        if notice not in self._journal.notices:
            self._journal.notices.append(notice)

    # ---- the folder

    def _look_for_folder(self) -> None:
        moved_to = self._path_now()
        if moved_to is not None:
            self._follow(Home(moved_to))
        elif self._daemon.is_needed:
            self._make_folder()
        else:
            log(f"{self._home.path} was removed, and nothing is left to do: the daemon ends")
            self._is_left = True
            self._daemon.end_now()

    def _path_now(self) -> str | None:
        """The path of our folder now, from proc(5); None if it was removed."""
        try:
            path = os.readlink(f"/proc/self/fd/{self._folder}")
        except OSError:
            return None
        return path if _leads_to(path, self._folder) else None

    def _follow(self, home: Home) -> None:
        """Restart in place with the folder at its new path: too much holds the old path to change it."""
        prepare_home(home)
        if self._daemon.is_private:
            raise CorralError(f"it was moved to {home.path}: move it back")
        log(f"{self._home.path} was moved to {home.path}: going on there")
        self._is_left = True
        self._daemon.move_to(home, self._note_stayed)

    def _note_stayed(self, error: CorralError) -> None:
        log(str(error))
        self._is_left = False
        self._retry_at = time.monotonic() + RETRY_SECONDS

    def _make_folder(self) -> None:
        prepare_home(self._home)
        self._take_lock()
        os.close(self._folder)
        self._folder = self._opened()
        self._look_at_log()
        kept = self._journal.rewrite()
        self._jobs = file_id(self._home.jobs)
        if self._daemon.listener is not None:
            self._daemon.listen_at(listen(self._home))
        was = "removed" if kept is None else "replaced"
        self._say(
            f"{self._home.path} was {was} while its daemon ran, which goes on there with all that it knows; "
            f"{OUTPUT_LOST}{_aside(kept)}"
        )
        self._look_at_parts()

    def _opened(self) -> int:
        flags = _ONLY_LOOK | os.O_DIRECTORY | os.O_CLOEXEC
        return move_high(os.open(self._home.path, flags))

    # ---- what is in it

    def _look_at_parts(self) -> None:
        home, daemon = self._home, self._daemon
        self._look_at_log()
        if daemon.lock is not None and not _leads_to(home.daemon_lock, daemon.lock):
            self._take_lock()
            self._say(f"{home.daemon_lock} was removed while the daemon ran: it was made again")
        if not self._journal.is_in_place():
            self._write_journal()
        if file_id(home.jobs) != self._jobs:
            self._make_jobs()
        socket = file_id(home.socket)
        if daemon.listener is not None and (socket is None or socket != self._socket):
            daemon.listen_at(listen(home))
            self._say(f"{home.socket} was removed while the daemon ran: it was made again")
        if _written(home.identity_file) != self._noted:
            # Also after the file of another home was copied over it, with that one's nonce.
            self._journal.note_identity()
            self._noted = _written(home.identity_file)

    def _take_lock(self) -> None:
        if self._daemon.lock is None:
            return
        lock = take_lock(self._home)
        if lock is None:
            raise CorralError("another daemon has taken its lock; corral daemon status names it")
        os.close(self._daemon.lock)
        self._daemon.lock = move_high(lock)

    def _write_journal(self) -> None:
        kept = self._journal.rewrite()
        was = "removed" if kept is None else "replaced"
        self._say(
            f"the journal {self._home.journal} was {was} while the daemon ran: "
            f"it was rewritten, with all that was in it{_aside(kept)}"
        )

    def _make_jobs(self) -> None:
        prepare_home(self._home)
        self._jobs = file_id(self._home.jobs)
        self._say(f"{self._home.jobs} was removed or replaced while the daemon ran: {OUTPUT_LOST}")

    def _look_at_log(self) -> None:
        """First, since the other repairs are logged there."""
        if not self._logs_there or _leads_to(self._home.daemon_log, 2):
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        new = os.open(self._home.daemon_log, flags, 0o600)
        try:
            for number in (1, 2):
                if os.path.samestat(os.fstat(number), os.fstat(2)):
                    os.dup2(new, number)
        finally:
            os.close(new)
        log(f"{self._home.daemon_log} was removed while the daemon ran: this one begins")


def _aside(kept: str | None) -> str:
    return "" if kept is None else f"; the journal that stood there was set aside as {kept}"


def _written(path: str) -> tuple[int, int] | None:
    """Identifies one version of a file; None if there is none."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def _leads_to(path: str, descriptor: int) -> bool:
    """Whether the descriptor is open on the file at `path`. Raises OSError if that cannot be determined."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except (FileNotFoundError, NotADirectoryError):
        return False
