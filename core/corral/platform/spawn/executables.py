"""Finding the program that a stage starts and its directory, and what to say where either cannot be used.

The daemon does it in its own loop, so each path is shown to a check before it is touched: one that may hang is looked
up by somebody else then (`corral.platform.spawn.stand_in`, which runs this module too).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence

from corral.model.errors import CannotStartError
from corral.platform.host import resource_errors

_ENOEXEC_HINT = (
    "it is no program that the kernel knows; if it is a script, give it a #! line or run it with sh"
)
_LONGEST_FIRST_LINE = 256
"""Of a script, as far as the kernel reads it (BINPRM_BUF_SIZE)."""
Check = Callable[[str], None]


def no_check(_: str) -> None:
    """For where nothing may hang."""


def find_program(name: str, path: str, cwd: str, check: Check = no_check) -> str:
    """The file that `name` means: as written where it has a slash, else the first executable of that name in `path`.

    `path` is the job's PATH; an empty entry means its directory (POSIX, 8.3). Relative results are relative to `cwd`.

    Raises:
        CannotStartError: 127 there is no such program, 126 it cannot be executed, 125 nobody can tell.
        Exception: what `check` raises.
    """
    if not name:
        raise CannotStartError("no such program: the name is empty", 127)
    if "/" in name:
        return _checked(name, os.path.join(cwd, name), check)
    candidates = [
        f"{directory}/{name}" if directory.startswith("/") else os.path.join(cwd, directory, name)
        for directory in path.split(":")
    ]
    for candidate in candidates:
        check(candidate)
        if os.access(candidate, os.X_OK) and os.path.isfile(candidate):
            return candidate
    raise _not_found(name, candidates)


def _not_found(name: str, candidates: Sequence[str]) -> CannotStartError:
    """Why none of these can be executed."""
    denied = trouble = None
    for candidate in candidates:
        try:
            is_file = stat.S_ISREG(os.stat(candidate).st_mode)
        except OSError as error:
            # Not there, or not to be reached; a disk that fails says nothing about what is on it.
            trouble = (
                f"{candidate}: {resource_errors.explanation(error)}"
                if resource_errors.is_shortage(error)
                else trouble
            )
            continue
        if is_file:
            denied = denied or candidate
    if denied is not None:
        return CannotStartError(f"not executable: {denied}; {advice_on(denied)}", 126)
    if trouble is not None:
        return CannotStartError(f"cannot look for the program {name}: {trouble}", 125)
    return CannotStartError(f"no such program: {name}", 127)


def check_directory(cwd: str) -> None:
    """Whether a job can start there.

    Raises:
        CannotStartError: 125; it is not there, or what stands in the way, such as a file server that is gone.
    """
    try:
        is_directory = stat.S_ISDIR(os.stat(cwd).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        is_directory = False
    except OSError as error:
        raise CannotStartError(
            f"cannot use the directory {cwd}: {resource_errors.explanation(error)}", 125
        ) from None
    if not is_directory:
        raise CannotStartError(f"no such directory: {cwd}", 125)


def _checked(name: str, path: str, check: Check) -> str:
    check(path)
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise CannotStartError(f"no such program: {name}", 127) from None
    except OSError as error:
        # EACCES, ELOOP: as a shell has it, it may be there and cannot be run.
        status = 125 if resource_errors.is_shortage(error) else 126
        raise CannotStartError(
            f"not executable: {name}: {resource_errors.explanation(error)}", status
        ) from None
    if stat.S_ISDIR(mode):
        raise CannotStartError(f"not executable: {name} is a directory", 126)
    if not os.access(path, os.X_OK):
        raise CannotStartError(f"not executable: {name}; {advice_on(path)}", 126)
    return path


def check_interpreter(program: str, check: Check) -> None:
    """Show `check` what the kernel runs a script with (execve(2))."""
    try:
        with open(program, "rb", buffering=0) as file:
            line = file.read(_LONGEST_FIRST_LINE).split(b"\n", 1)[0]
    except OSError:
        return  # it may be executed and not be read
    words = line[2:].split(maxsplit=1) if line.startswith(b"#!") else []
    if words and words[0].startswith(b"/"):
        check(os.fsdecode(words[0]))


def refused(error: Exception, name: str) -> CannotStartError:
    """Why the kernel did not start a program."""
    if resource_errors.is_shortage(error):
        return CannotStartError(f"{name}: {resource_errors.explanation(error)}", 125)
    if not isinstance(error, OSError):
        return CannotStartError(f"{name}: {error}", 125)
    if error.errno == errno.ENOEXEC:
        return CannotStartError(f"not executable: {name}; {_ENOEXEC_HINT}", 126)
    if error.errno == errno.E2BIG:
        return CannotStartError(f"{name}: its arguments and environment are too long for the kernel", 126)
    if error.errno in (errno.EACCES, errno.EPERM, errno.ENOENT, errno.ETXTBSY, errno.ELOOP, errno.ENOTDIR):
        return CannotStartError(f"not executable: {name}: {error.strerror} (its interpreter, perhaps)", 126)
    return CannotStartError(f"{name}: no process for it: {error.strerror}", 125)


_BEGINNINGS = (b"#!", b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
"""What execve(2) takes: a script with its interpreter, ELF; on macOS Mach-O of one and of several architectures."""
_SCRIPTS = frozenset((".bash", ".js", ".lua", ".php", ".pl", ".py", ".rb", ".sh", ".tcl", ".zsh"))


def advice_on(path: str) -> str:
    """What to do about a file that exists and may not be executed; `chmod` only where it would help."""
    if not os.path.isfile(path):
        return "it is no program"
    try:
        with open(path, "rb") as file:
            beginning = file.read(4)
    except OSError:
        return "you may neither read nor execute it"
    if beginning.startswith(_BEGINNINGS):
        return "chmod +x lets it run"
    if os.path.splitext(path)[1] in _SCRIPTS:
        return "it has no #! line: put its interpreter in front"
    return "it is no program"
