"""The directory of a CORRAL_HOME: made, made private, refused where it cannot serve."""

from __future__ import annotations

import os
import stat

from corral.values.errors import CorralError
from corral.values.home import Home

PRIVATE_DIRECTORY = 0o700
PRIVATE_FILE = 0o600


def prepare_home(home: Home) -> None:
    """Make the home and its `jobs`, for nobody but its owner.

    Raises:
        CorralError: it is no directory, belongs to somebody else, or cannot be written.
    """
    try:
        os.makedirs(home.path, mode=PRIVATE_DIRECTORY, exist_ok=True)
        check_owner(home)
        _make_private(home.path)
        os.makedirs(home.jobs, mode=PRIVATE_DIRECTORY, exist_ok=True)
        _make_private(home.jobs)
    except OSError as error:
        raise _refusal(home, error) from None
    # access(2) knows of read-only file systems and immutable directories, which stop even root.
    if not os.access(home.path, os.R_OK | os.W_OK | os.X_OK):
        raise CorralError(f"cannot write to CORRAL_HOME {home.path}: set CORRAL_HOME to a directory of yours")


def check_owner(home: Home) -> None:
    """Refuse a home of another user: what is made there as root would lock its owner out.

    Raises:
        CorralError: the home belongs to somebody else.
        OSError: there is none.
    """
    owner = os.stat(home.path).st_uid
    if owner != os.geteuid():
        raise CorralError(
            f"CORRAL_HOME {home.path} belongs to {_user(owner)}: run corral as that user, "
            "or set CORRAL_HOME to a directory of yours"
        )


def private_file(path: str) -> None:
    """Make sure that a file is there and is 0600, whatever the umask."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        os.fchmod(descriptor, PRIVATE_FILE)
    finally:
        os.close(descriptor)


def _make_private(path: str) -> None:
    if stat.S_IMODE(os.stat(path).st_mode) != PRIVATE_DIRECTORY:
        os.chmod(path, PRIVATE_DIRECTORY)


def _refusal(home: Home, error: OSError) -> CorralError:
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        return CorralError(f"CORRAL_HOME {home.path} is no directory: set CORRAL_HOME to one")
    what = error.strerror or str(error)
    return CorralError(f"cannot use CORRAL_HOME {home.path}: {what}: set CORRAL_HOME to a directory of yours")


def _user(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
