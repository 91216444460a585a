"""Which program a stage really runs: the one behind `nice`, `env` and the like; a Python module or script by its name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

LONGEST_NAME = 255
"""NAME_MAX of limits.h: no program has a longer name, but the word in its place may be a megabyte long."""


class _Wrapper(NamedTuple):
    """A program that starts another one, with the options of its man page; with any other option it is not looked through."""

    options: str
    long_options: str = ""
    between: int = 0
    """Words between the options and the program: of timeout(1), how long."""
    is_assigning: bool = False
    """Whether NAME=VALUE may stand in front of the program."""


_WRAPPERS = {
    "nice": _Wrapper("n:0123456789", "adjustment="),
    "ionice": _Wrapper("c:n:t", "class= classdata= ignore"),
    "chrt": _Wrapper("abdfiorRvT:P:D:", "batch fifo idle other rr deadline reset-on-fork verbose", between=1),
    "taskset": _Wrapper("ac", "all-tasks cpu-list", between=1),
    "env": _Wrapper("iu:C:v", "ignore-environment unset= chdir= debug", is_assigning=True),
    "nohup": _Wrapper(""),
    "setsid": _Wrapper("cfw", "ctty fork wait"),
    "timeout": _Wrapper("k:s:vfp", "kill-after= signal= verbose foreground preserve-status", between=1),
    "stdbuf": _Wrapper("i:o:e:", "input= output= error="),
    "time": _Wrapper("pvqao:f:", "portability verbose quiet append output= format="),
    "flock": _Wrapper(
        "sexnuoFw:E:", "shared exclusive nonblock close no-fork wait= timeout= verbose", between=1
    ),
    "sudo": _Wrapper(
        "AbBEHknNPSu:g:h:p:C:D:R:T:r:t:",
        "askpass background preserve-env set-home non-interactive stdin user= group= host= prompt= chdir= chroot=",
        is_assigning=True,
    ),
    "doas": _Wrapper("nu:C:"),
}
SHELLS = frozenset({"sh", "bash", "dash", "ksh", "zsh"})
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_./:,+@% -]")
"""In a shell command: it does more than start one program."""
_NO_PROGRAMS = frozenset({"cd", "case", "for", "if", "read", "set", "trap", "until", "wait", "while", "."})
_PYTHON = re.compile(r"python[0-9.]*$")
_PYTHON_VALUED = frozenset({"-W", "-X", "--check-hash-based-pycs"})
_MOST_WRAPPERS = 5


def program_name(argv: Sequence[str]) -> str:
    """The usual name for the stage: the program that does the work, without its directory."""
    return program_words(argv)[0] if argv else ""


def program_words(argv: Sequence[str]) -> tuple[str, ...]:
    """The argv of what really runs; if that is unclear, the argv as it is with the program's directory removed."""
    words = tuple(argv)
    for _ in range(_MOST_WRAPPERS):
        inner = _wrapped(words)
        if not inner or not inner[0]:
            break
        words = inner
    if not words:
        return ()
    name = _base(words[0])
    return (_of_python(words[1:]) if _PYTHON.match(name) else None) or (name, *words[1:])


def wrapper_name(argv: Sequence[str]) -> str:
    """The program that is started first, without its directory: some wrappers stay and wait for the inner program."""
    return _base(argv[0]) if argv else ""


def _base(path: str) -> str:
    path = path[-LONGEST_NAME:]
    return path.rstrip("/").rpartition("/")[2] or path


def _wrapped(argv: Sequence[str]) -> tuple[str, ...]:
    """The argv that a wrapper starts; empty if it is not a wrapper, or unclear what it starts."""
    name = wrapper_name(argv)
    if name in SHELLS:
        return _of_shell(argv[1:])
    if name not in _WRAPPERS:
        return ()
    from getopt import GetoptError, getopt

    wrapper = _WRAPPERS[name]
    try:
        _, rest = getopt(list(argv[1:]), wrapper.options, wrapper.long_options.split())
    except GetoptError:
        return ()
    rest = rest[wrapper.between :]
    while wrapper.is_assigning and rest and ("=" in rest[0] or rest[0] == "-"):
        rest = rest[1:]
    if name == "flock" and rest[:1] == ["-c"]:
        return _of_shell(rest)
    return () if rest and rest[0].startswith("-") else tuple(rest)


def _of_shell(arguments: Sequence[str]) -> tuple[str, ...]:
    """For `-c 'exec gzip -9'` the argv of gzip; empty if the shell does more than that."""
    if len(arguments) < 2 or arguments[0] != "-c" or _NOT_PLAIN.search(arguments[1]):
        return ()
    words = arguments[1].split()
    words = words[1:] if words[:1] == ["exec"] else words
    return () if not words or words[0] in _NO_PROGRAMS or words[0].startswith("-") else tuple(words)


def _of_python(arguments: Sequence[str]) -> tuple[str, ...] | None:
    """`-m http.server 8080` is `server 8080`, `/srv/train.py --fast` is `train --fast`; None if there is neither."""
    place = 0
    while place < len(arguments) and arguments[place].startswith("-"):
        if arguments[place] == "-m" and place + 1 < len(arguments):
            module = arguments[place + 1].rpartition(".")[2]
            return (module, *arguments[place + 2 :]) if module else None
        if arguments[place] in ("-c", "-"):
            return None
        place += 2 if arguments[place] in _PYTHON_VALUED else 1
    rest = tuple(arguments[place:])
    script = _base(rest[0]).removesuffix(".py") if rest else ""
    return (script, *rest[1:]) if script else None
