"""Whether somebody else could put another file in the place of a path: what ssh asks of `~/.ssh` (sshd_config(5),
StrictModes), and one step more: each symlink on the way is looked at too.
"""

from __future__ import annotations

import errno
import os
import stat

_MOST_LINKS = 40
"""As the kernel has it (path_resolution(7))."""


def why_replaceable(path: str) -> str | None:
    """A sentence that names what on the way to `path` is not ours alone to change; None where all is well.

    Every directory and every symlink up to `path`, which is absolute, has to belong to us or to root, and every
    directory above it to be closed to others' writing, or sticky, as /tmp is. `path` itself may have any mode, and need
    not be there.

    Raises:
        OSError: the way cannot be looked at.
    """
    trusted = {0, os.geteuid(), os.stat("/").st_uid}
    """The owner of `/` can do all; in a user namespace that is not 0 but the overflow uid (user_namespaces(7))."""
    here, links = "/", 0
    left = _parts(path)
    while left:
        above, here = here, _joined(here, left.pop())
        try:
            found = os.lstat(here)
        except FileNotFoundError:
            return None
        if found.st_uid not in trusted:
            return f"{here} belongs to {user_name(found.st_uid)}"
        if stat.S_ISLNK(found.st_mode):
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            target = os.readlink(here)
            here = "/" if target.startswith("/") else above
            left += _parts(target)
        elif left and is_open_to_others(found):
            return f"{here} may be written by others"
    return None


def why_untrusted_program(path: str) -> str | None:
    """Why a program may not be run: somebody else could put another one in its place. None where all is well."""
    if not os.path.isabs(path):
        return f"{path} is no full path"
    try:
        found = os.stat(path)
        reason = why_replaceable(path)
    except OSError as error:
        return f"{path}: {error.strerror}"
    if reason is None and found.st_uid not in (0, os.geteuid()):
        return f"{path} belongs to {user_name(found.st_uid)}"
    if reason is None and is_open_to_others(found):
        return f"{path} may be written by others"
    return reason


def _parts(path: str) -> list[str]:
    """The names in `path`, the first one last."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def _joined(directory: str, name: str) -> str:
    return os.path.dirname(directory) if name == ".." else os.path.join(directory, name)


def is_open_to_others(found: os.stat_result) -> bool:
    """Whether others may put something in the place of what is in this directory.

    The sticky bit keeps each one's own his own. A group that is its owner's alone is nobody else (Linux distributions
    give each user one, and a umask of 002).
    """
    if found.st_mode & stat.S_ISVTX:
        return False
    if found.st_mode & stat.S_IWOTH:
        return True
    return bool(found.st_mode & stat.S_IWGRP) and not _is_own_group(found.st_gid, found.st_uid)


def _is_own_group(group: int, user: int) -> bool:
    import grp
    import pwd

    try:
        found, name = grp.getgrgid(group), pwd.getpwuid(user).pw_name
    except KeyError:
        return False
    return found.gr_name == name and set(found.gr_mem) <= {name}


def user_name(uid: int) -> str:
    """For a person."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
