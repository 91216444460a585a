"""What the words of a command line ask the system for: the homes of users, and the files that a pattern matches."""

from __future__ import annotations

import math
import os
import pwd
import time
from collections.abc import Iterator, Sequence
from functools import partial

from corral.commandline.expansion import ExpansionContext, Matches
from corral.commandline.globs import FileName
from corral.model.spec import Surroundings
from corral.model.wire import from_wire, to_wire

MOST_BYTES = 6 << 20
"""Of arguments, their pointers included: more Linux gives to no program (execve(2)), and nobody has to look for more."""
_POINTER = 8


def expansion_context(around: Surroundings, *, seconds: float = math.inf) -> ExpansionContext:
    """What a line that runs there can ask for. After so many `seconds` no more files are looked for."""
    deadline = time.monotonic() + seconds
    return ExpansionContext(
        around.environment, around.cwd, home_of, partial(files, from_wire(around.cwd), deadline=deadline)
    )


def home_of(user: str) -> str | None:
    """Of the passwd database, whatever it is read from; `""` is who we are."""
    try:
        entry = pwd.getpwnam(from_wire(user)) if user else pwd.getpwuid(os.getuid())
    except KeyError:
        return None
    return to_wire(entry.pw_dir)


def files(directory: str, names: Sequence[FileName], *, deadline: float = math.inf) -> Matches:
    """Those that there are, looked for in `directory`, sorted by their bytes as sh does it in the locale C.

    `.` and `..` are matched by no pattern. A directory that cannot be read counts as empty, as for sh. `deadline` is of
    the monotonic clock.
    """
    found, troubles, room = list[str](), list[str](), MOST_BYTES
    waiting = [("", 0)]
    while waiting:
        path, number = waiting.pop()
        name, is_last = names[number], number == len(names) - 1
        for each in _matching(os.path.join(directory, path), name, troubles, is_last=is_last):
            if time.monotonic() > deadline:
                return Matches(is_complete=False)
            if not is_last:
                waiting.append((f"{path}{each}/", number + 1))
            elif name.pattern or _exists(os.path.join(directory, path + each)):
                found.append(path + each)
                room -= len(os.fsencode(found[-1])) + 1 + _POINTER
                if room < 0:
                    return Matches(no_match_reason="matches more files than a program can be given")
    paths = tuple(to_wire(path) for path in sorted(found, key=os.fsencode))
    return Matches(paths, f"matches no file that can be seen: {troubles[0]}" if troubles else "")


def _matching(directory: str, name: FileName, troubles: list[str], *, is_last: bool) -> Iterator[str]:
    if name.pattern is None:
        yield from_wire(name.text)
        return
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
