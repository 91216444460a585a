"""Starting one child: Popen with everything that is Corral's about it."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from collections.abc import Mapping, Sequence

from corral.system import limits, mark, shortage
from corral.system.mark import Mark
from corral.system.programs import advice_on
from corral.values.errors import CannotStartError

_ENOEXEC_HINT = (
    "it is no program that the kernel knows; if it is a script, give it a #! line or run it with sh"
)


def find_program(name: str, path: str, cwd: str) -> str:
    """The file that `name` means: as written where it has a slash, else the first executable of that name in `path`.

    `path` is the job's PATH; an empty entry means its directory (POSIX, 8.3). Relative results are relative to `cwd`.

    Raises:
        CannotStartError: 127 there is no such program, 126 it cannot be executed, 125 nobody can tell.
    """
    if not name:
        raise CannotStartError("no such program: the name is empty", 127)
    if "/" in name:
        return _checked(name, os.path.join(cwd, name))
    denied = trouble = None
    for directory in path.split(":"):
        candidate = f"{directory}/{name}" if directory.startswith("/") else os.path.join(cwd, directory, name)
        try:
            is_file = stat.S_ISREG(os.stat(candidate).st_mode)
        except OSError as error:
            # Not there, or not to be reached; a disk that fails says nothing about what is on it.
            trouble = f"{candidate}: {shortage.in_words(error)}" if shortage.is_shortage(error) else trouble
            continue
        if not is_file:
            continue
        if os.access(candidate, os.X_OK):
            return candidate
        denied = denied or candidate
    if denied is not None:
        raise CannotStartError(f"not executable: {denied}; {advice_on(denied)}", 126)
    if trouble is not None:
        raise CannotStartError(f"cannot look for the program {name}: {trouble}", 125)
    raise CannotStartError(f"no such program: {name}", 127)


def check_directory(cwd: str) -> None:
    """Whether a job can start there.

    Raises:
        CannotStartError: 125; it is not there, or what stands in the way, a file server that is gone say.
    """
    try:
        is_directory = stat.S_ISDIR(os.stat(cwd).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        is_directory = False
    except OSError as error:
        raise CannotStartError(f"cannot use the directory {cwd}: {shortage.in_words(error)}", 125) from None
    if not is_directory:
        raise CannotStartError(f"no such directory: {cwd}", 125)


def _checked(name: str, path: str) -> str:
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise CannotStartError(f"no such program: {name}", 127) from None
    except OSError as error:
        # EACCES, ELOOP: as a shell has it, it may be there and cannot be run.
        status = 125 if shortage.is_shortage(error) else 126
        raise CannotStartError(f"not executable: {name}: {shortage.in_words(error)}", status) from None
    if stat.S_ISDIR(mode):
        raise CannotStartError(f"not executable: {name} is a directory", 126)
    if not os.access(path, os.X_OK):
        raise CannotStartError(f"not executable: {name}; {advice_on(path)}", 126)
    return path


def spawn(
    argv: Sequence[str],
    executable: str,
    descriptors: tuple[int, int, int],
    *,
    cwd: str,
    environment: Mapping[bytes, bytes],
    umask: int,
    worn_mark: Mark | None,
    limit_plan: limits.LimitPlan,
) -> subprocess.Popen[bytes]:
    """Start one stage in a session of its own. `descriptors` become its 0, 1 and 2 and stay open here.

    Raises:
        CannotStartError: 126 where the kernel refuses the program, 125 where there is no process or memory for it.
    """
    stdin, stdout, stderr = descriptors
    try:
        with mark.worn(worn_mark), limits.worn(limit_plan.around):
            return subprocess.Popen(
                argv,
                executable=executable,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                cwd=cwd,
                env=environment,
                umask=umask,
                # Every descriptor of the daemon is close-on-exec (PEP 446), so nothing has to be closed one by one;
                # with some thousand open ones that would cost milliseconds a child.
                close_fds=False,
                start_new_session=True,
                preexec_fn=limit_plan.inside,
            )
    except (OSError, subprocess.SubprocessError, ValueError, MemoryError) as error:
        raise _explained(error, argv[0], cwd) from None


def _explained(error: Exception, name: str, cwd: str) -> CannotStartError:
    if isinstance(error, subprocess.SubprocessError):
        return CannotStartError(f"{name}: the client's limits could not be given to it ({error})", 125)
    if shortage.is_shortage(error):
        return CannotStartError(f"{name}: {shortage.in_words(error)}", 125)
    if not isinstance(error, OSError):
        return CannotStartError(f"{name}: {error}", 125)
    if error.filename is not None and os.fsdecode(error.filename) == cwd and not os.path.isdir(cwd):
        return CannotStartError(f"no such directory: {cwd}", 125)
    if error.errno == errno.ENOEXEC:
        return CannotStartError(f"not executable: {name}; {_ENOEXEC_HINT}", 126)
    if error.errno == errno.E2BIG:
        return CannotStartError(f"{name}: its arguments and environment are too long for the kernel", 126)
    if error.errno in (errno.EACCES, errno.EPERM, errno.ENOENT, errno.ETXTBSY, errno.ELOOP, errno.ENOTDIR):
        return CannotStartError(f"not executable: {name}: {error.strerror} (its interpreter, perhaps)", 126)
    return CannotStartError(f"{name}: no process for it: {error.strerror}", 125)
