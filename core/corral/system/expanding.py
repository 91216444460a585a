"""What the words of a command line ask the system for: the homes of users, and the files that a pattern matches."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Sequence
from functools import partial

from corral.values.expansion import Found, Outside
from corral.values.globs import FileName
from corral.values.spec import Surroundings
from corral.values.wire import from_wire, to_wire


def outside(around: Surroundings) -> Outside:
    """What a line that runs there can ask for."""
    return Outside(around.environment, around.cwd, home_of, partial(files, from_wire(around.cwd)))


def home_of(user: str) -> str | None:
    """Of the passwd database, whatever it is read from; `""` is who we are."""
    try:
        entry = pwd.getpwnam(from_wire(user)) if user else pwd.getpwuid(os.getuid())
    except KeyError:
        return None
    return to_wire(entry.pw_dir)


def files(directory: str, names: Sequence[FileName]) -> Found:
    """Those that there are, looked for in `directory`, sorted by their bytes as sh does it in the locale C.

    `.` and `..` are matched by no pattern. A directory that cannot be read counts as empty, as for sh.
    """
    found, troubles = [""], list[str]()
    for number, name in enumerate(names, start=1):
        slash = "/" if number < len(names) else ""
        if name.pattern is None:
            found = [path + from_wire(name.text) + slash for path in found]
        else:
            found = [
                path + each + slash
                for path in found
                for each in _matching(os.path.join(directory, path), name, troubles, is_last=not slash)
            ]
    if names[-1].pattern is None:
        found = [path for path in found if _exists(os.path.join(directory, path))]
    paths = tuple(to_wire(path) for path in sorted(found, key=os.fsencode))
    return Found(paths, "" if paths or not troubles else troubles[0])


def _matching(directory: str, name: FileName, troubles: list[str], *, is_last: bool) -> Iterator[str]:
    assert name.pattern is not None
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.startswith(".") and not name.takes_hidden:
                    continue
                if name.pattern.fullmatch(to_wire(entry.name)) and (is_last or _is_directory(entry)):
                    yield entry.name
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        troubles.append(f"{to_wire(directory)}: {(error.strerror or str(error)).lower()}")


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _exists(path: str) -> bool:
    """Also where it is a symlink to nothing; with a slash at its end a directory must be there."""
    try:
        os.lstat(path)
    except OSError:
        return False
    return True
