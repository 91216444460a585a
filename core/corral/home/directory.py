"""The directory of a CORRAL_HOME: created, made private, and refused if it is unusable or another user can change it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from corral.model.errors import CorralError
from corral.model.home import Home
from corral.platform.host.path_trust import is_open_to_others, user_name, why_replaceable

PRIVATE_DIRECTORY = 0o700
PRIVATE_FILE = 0o600
ELSEWHERE = "set CORRAL_HOME to a directory of yours"

_OURS: dict[str, tuple[Callable[[int], bool], ...]] = {
    "corral.db": (stat.S_ISREG,),
    "corral.db-wal": (stat.S_ISREG,),
    "corral.db-shm": (stat.S_ISREG,),
    "corral.db-journal": (stat.S_ISREG,),
    "daemon.lock": (stat.S_ISREG,),
    "daemon.log": (stat.S_ISREG,),
    "daemon.log.1": (stat.S_ISREG,),
    "daemon.log.new": (stat.S_ISREG,),
    "handover.json": (stat.S_ISREG,),
    "home.json": (stat.S_ISREG,),
    "home.json.new": (stat.S_ISREG,),
    "jobs": (stat.S_ISDIR,),
    # Restored from a backup it is a plain file; the daemon replaces it with a socket.
    "socket": (stat.S_ISSOCK, stat.S_ISREG),
}
"""What Corral makes in its home, and what each of these has to be."""


def prepare_home(home: Home) -> None:
    """Create the home and its `jobs`, accessible only to its owner.

    Raises:
        CorralError: it is not a directory, is not ours alone, or cannot be written.
    """
    try:
        if not os.path.lexists(home.path):
            _check_way(home)
            _make(home.path)
        check_home(home)
        _close(home.path, os.stat(home.path))
        _make(home.jobs)
        _close(home.jobs, os.stat(home.jobs))
    except OSError as error:
        raise _refusal(home, error) from None
    # access(2) knows of read-only file systems and immutable directories, which stop even root.
    if not os.access(home.path, os.R_OK | os.W_OK | os.X_OK):
        raise CorralError(f"cannot write to CORRAL_HOME {home.path}: {ELSEWHERE}")


def check_home(home: Home) -> None:
    """Refuse a home that is not ours alone, and make one that is ours inaccessible to everybody else.

    A symlink of ours to a directory of ours counts as that directory. Another user's is refused even for root, whose
    files in it would lock its owner out.

    Raises:
        CorralError: another user owns it, or could have replaced it or put something into it; or it cannot be used.
        FileNotFoundError: it does not exist.
    """
    try:
        _check(home, os.stat(home.path))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _refusal(home, error) from None


def _check(home: Home, found: os.stat_result) -> None:
    if found.st_uid != os.geteuid():
        raise CorralError(
            f"CORRAL_HOME {home.path} belongs to {user_name(found.st_uid)}: run corral as that user, or {ELSEWHERE}"
        )
    _check_way(home)
    if not stat.S_ISDIR(found.st_mode):
        raise CorralError(f"CORRAL_HOME {home.path} is no directory: set CORRAL_HOME to one")
    was_open = False
    if stat.S_IMODE(found.st_mode) & 0o077:
        _check_it_is_for_corral(home, found)
        was_open = is_open_to_others(found)
        _close(home.path, found)
    _check_contents(home.path, was_open)


def _check_way(home: Home) -> None:
    reason = why_replaceable(home.path)
    if reason is not None:
        raise CorralError(f"CORRAL_HOME {home.path} is not safe there: {reason}; change that, or {ELSEWHERE}")


def _check_it_is_for_corral(home: Home, found: os.stat_result) -> None:
    """A directory that others use too, such as /tmp, must not be made private by us."""
    names = set(os.listdir(home.path))
    if found.st_mode & stat.S_ISVTX or (names and not names & _OURS.keys()):
        raise CorralError(
            f"CORRAL_HOME {home.path} is open to others and holds other things: set it to a directory of its own"
        )


def _close(path: str, found: os.stat_result) -> None:
    """Set mode 0700. Raises OSError, but not on a read-only file system: reading still works there."""
    if stat.S_IMODE(found.st_mode) == PRIVATE_DIRECTORY:
        return
    try:
        os.chmod(path, PRIVATE_DIRECTORY)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise


def _check_contents(folder: str, was_open: bool) -> None:
    """Nothing that we are about to open leads elsewhere; in a folder that others could write, nothing is theirs."""
    names = set(_OURS)
    if was_open:
        names.update(os.listdir(folder))
    for name in sorted(names):
        path = os.path.join(folder, name)
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            continue
        _check_entry(path, found, _OURS.get(name, ()), was_open)
        if name == "jobs" and is_open_to_others(found):
            _check_jobs(path)


def _check_jobs(folder: str) -> None:
    _close(folder, os.lstat(folder))
    with os.scandir(folder) as entries:
        for entry in entries:
            _check_entry(entry.path, entry.stat(follow_symlinks=False), (stat.S_ISDIR,), False)


def _check_entry(
    path: str, found: os.stat_result, kinds: tuple[Callable[[int], bool], ...], was_open: bool
) -> None:
    if found.st_uid != os.geteuid():
        reason = f"belongs to {user_name(found.st_uid)}"
    elif stat.S_ISLNK(found.st_mode) and kinds:
        reason = "is a symlink"
    elif kinds and not any(is_kind(found.st_mode) for is_kind in kinds):
        reason = "is not what corral makes there"
    elif was_open and stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
        # Others could have hard-linked another file of ours into here, so that we overwrite it (link(2)).
        reason = "is a file that also has another name (a hard link)"
    else:
        return
    raise CorralError(
        f"{path} {reason}: look at it, and move it away or set CORRAL_HOME to another directory"
    )


def check_folder(path: str) -> None:
    """That `path` is a directory of ours, and no symlink to one. Raises CorralError, OSError."""
    _check_entry(path, os.lstat(path), (stat.S_ISDIR,), False)


def private_file(path: str) -> None:
    """Make sure that a file is there and is 0600, whatever the umask. Raises OSError, for a symlink ELOOP."""
    # Without O_NONBLOCK opening a FIFO would block (fifo(7)); for a file it has no effect.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, PRIVATE_FILE)
    try:
        os.fchmod(descriptor, PRIVATE_FILE)
    finally:
        os.close(descriptor)


def _make(path: str) -> None:
    """Create the directory and its missing parents. 0700 each, as the XDG base directory specification asks for."""
    try:
        os.mkdir(path, PRIVATE_DIRECTORY)
    except FileExistsError:
        return
    except FileNotFoundError:
        _make(os.path.dirname(path))
        os.mkdir(path, PRIVATE_DIRECTORY)
    # The umask may have taken away our own permissions too.
    os.chmod(path, PRIVATE_DIRECTORY)


def _refusal(home: Home, error: OSError) -> CorralError:
    if isinstance(error, NotADirectoryError):
        return CorralError(f"CORRAL_HOME {home.path} is no directory: set CORRAL_HOME to one")
    what = error.strerror or str(error)
    instead = f"chmod 700 {home.path}" if _is_closed_to_us(home) else ELSEWHERE
    return CorralError(f"cannot use CORRAL_HOME {home.path}: {what}: {instead}")


def _is_closed_to_us(home: Home) -> bool:
    """Whether it is ours, and its permissions deny even us."""
    try:
        found = os.stat(home.path)
    except OSError:
        return False
    return (
        found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) & PRIVATE_DIRECTORY != PRIVATE_DIRECTORY
    )
