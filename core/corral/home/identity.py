"""Which folder a home is: a copy is a home of its own, a moved one is the same.

Stored in the journal and in `home.json`: the nonce of its marks, and the folder. A copy contains both, and the rows of
jobs whose processes belong to the original; it gets a nonce of its own, so that those processes are foreign to it.
"""

from __future__ import annotations

import json
import os
import re
from typing import NamedTuple

import msgspec
from msgspec import Struct

from corral.home import nonce
from corral.model.errors import CorralError
from corral.model.home import Home
from corral.model.wire import from_wire, to_wire
from corral.platform.inspect.file_locks import FlockHolder, flock_holders
from corral.platform.process import boot_id, mark

LOCK = "daemon.lock"
_OUTPUT = re.compile(r"(.+)/jobs/([0-9]+)/(?:stdout|stderr\.[0-9]+)", re.DOTALL)


class Folder(Struct, frozen=True):
    """A directory, by its path without symlinks (in wire form), and as the kernel knows it under one boot."""

    path: str
    device: int
    inode: int
    boot: str

    def is_same_inode(self, other: Folder) -> bool:
        """Numbers of devices, and of inodes on some file systems, mean nothing after the next boot."""
        known = (self.boot, self.device, self.inode)
        return bool(self.boot) and known == (other.boot, other.device, other.inode)


class Identity(NamedTuple):
    """What is to be noted of a home. `copy_of`: the home that this one was a copy of until now."""

    nonce: int
    folder: str
    copy_of: str | None


def settle(
    home: Home, noted_nonce: str | None, noted_folder: str | None, *, is_itself: bool = False
) -> Identity:
    """The identity of this home, from what the journal has noted; `note` puts it into `home.json`.

    `is_itself`: known to be the same as before, since its daemon is this very process.
    """
    here = _here(home)
    known = nonce.known(home, noted_nonce)
    if known is None:
        return Identity(nonce.new(), _encode(here), None)
    noted = _parse(noted_folder) or _parse(_in_file(home))
    original = None if is_itself else _original(home, here, noted, known)
    if original is not None and _is_same(home.journal, Home(original).journal):
        raise CorralError(
            f"{home.journal} is the same file as in {original} (a hard link): remove {home.path}, or copy it with cp -a"
        )
    return Identity(known if original is None else nonce.new(), _encode(here), original)


def of(home: Home, known: int) -> Identity:
    """The identity of a home whose nonce is certain."""
    return Identity(known, _encode(_here(home)), None)


def note(home: Home, identity: Identity) -> None:
    """Write it to `home.json`. Raises CorralError."""
    folder = json.loads(identity.folder)
    if nonce.content(home) != {"nonce": identity.nonce, "folder": folder}:
        nonce.note(home, {"nonce": identity.nonce, "folder": folder})


def displaced_daemon(home: Home) -> int | None:
    """The pid of a daemon of this home whose folder or lock was removed: it is about to create them again."""
    gone = (
        one.pid
        for one in flock_holders(LOCK)
        if one.is_deleted and _is_of(home, one) and one.pid != os.getpid()
    )
    return next(gone, None)


def living_daemon(home: Home) -> int | None:
    """The pid of the daemon of this home, reachable or not, as shown by its lock alone."""
    return next((one.pid for one in flock_holders(LOCK) if _is_of(home, one)), None)


def _is_of(home: Home, holder: FlockHolder) -> bool:
    """Compared by path, which a removed folder had too, and by inode, since a folder may have several paths (bind mounts)."""
    return holder.folder == os.path.realpath(home.path) or _is_same(holder.folder, home.path)


def copy_of(home: Home) -> str | None:
    """The home that this one is a copy of, according to its `home.json`; until a daemon has settled its identity."""
    known = nonce.noted(home)
    return None if known is None else _original(home, _here(home), _parse(_in_file(home)), known)


# ---- whose copy it is ---------------------------------------------------------------------------------------------


def _original(home: Home, here: Folder, noted: Folder | None, known: int) -> str | None:
    """The path of another home that has the same nonce and is the original."""
    if noted == here:
        return None
    if noted is not None and not noted.is_same_inode(here) and _is_other(home, from_wire(noted.path), known):
        return from_wire(noted.path)
    return _served_elsewhere(home, noted, known) or _written_elsewhere(home, known)


def _is_other(home: Home, path: str, known: int) -> bool:
    """Whether that folder is there, is not this one, and is a home with this nonce."""
    return not _is_same(path, home.path) and nonce.noted(Home(path)) == known


def _served_elsewhere(home: Home, noted: Folder | None, known: int) -> str | None:
    """A daemon serves that nonce in another folder; or its folder was removed, and it is about to create it again."""
    for holder in flock_holders(LOCK):
        if holder.is_deleted:
            was_noted = noted is not None and holder.folder == from_wire(noted.path)
            if was_noted and holder.folder != os.path.realpath(home.path):
                return holder.folder
        elif _is_other(home, holder.folder, known):
            return holder.folder
    return None


def _written_elsewhere(home: Home, known: int) -> str | None:
    """A job of that nonce writes to another folder that still exists. After a move to another file system jobs that run
    on keep their old output files open, but those are deleted."""
    for pid, job, _ in mark.scan(known):
        for descriptor in (1, 2):
            try:
                link = os.readlink(f"/proc/{pid}/fd/{descriptor}")
            except OSError:
                continue
            match = _OUTPUT.fullmatch(link)
            if match and int(match[2]) == job and _is_other(home, match[1], known):
                return match[1]
    return None


def _is_same(path: str, other: str) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False


# ---- notes --------------------------------------------------------------------------------------------------------


def _here(home: Home) -> Folder:
    try:
        found = os.stat(home.path)
    except OSError as error:
        raise CorralError(f"cannot look at CORRAL_HOME {home.path}: {error.strerror}") from None
    return Folder(to_wire(os.path.realpath(home.path)), found.st_dev, found.st_ino, boot_id.current().id)


def _encode(folder: Folder) -> str:
    return msgspec.json.encode(folder).decode()


def _parse(text: str | None) -> Folder | None:
    try:
        return None if text is None else msgspec.json.decode(text, type=Folder)
    except msgspec.DecodeError:
        return None  # damaged: as good as never noted


def _in_file(home: Home) -> str | None:
    folder = nonce.content(home).get("folder")
    return None if folder is None else json.dumps(folder)
