"""What a job inherits: environment, directory, limits and so on of the client at the time of the command."""

from __future__ import annotations

import locale
import os
from collections.abc import Mapping

from corral.client.start_daemon import NEVER_INHERITED
from corral.model.errors import CorralError
from corral.model.spec import Surroundings
from corral.model.wire import to_wire
from corral.platform.spawn import credentials, resource_limits

_COERCED = ("C.UTF-8", "C.utf8", "UTF-8")
"""What Python makes of LC_CTYPE where the locale is "C", in its own environment too (PEP 538)."""


def surroundings(*, environment: Mapping[str, str] | None = None, cwd: str | None = None) -> Surroundings:
    """The surroundings of this process.

    Args:
        environment: in place of this process's, whole. PWD is that of the job all the same, unless another than ours is given.
        cwd: in place of this process's directory; relative to it.

    Raises:
        CorralError: this process's own directory has been removed and `cwd` is not absolute.
    """
    variables = dict(own_environment() if environment is None else environment)
    for name in NEVER_INHERITED:
        variables.pop(name, None)
    try:
        here = "" if cwd and os.path.isabs(cwd) else own_directory()
        directory = os.path.normpath(os.path.join(here, cwd)) if cwd else os.getcwd()
    except FileNotFoundError:
        raise CorralError(
            "the current directory has been removed; cd to one that exists, or give --cwd"
        ) from None
    if variables.get("PWD") == os.environ.get("PWD") and (cwd or "PWD" in variables):
        # Programs use PWD only if it names their directory, and show it instead of what getcwd(3) returns.
        variables["PWD"] = directory if cwd else here
    status = credentials.status_of_this()
    return Surroundings(
        environment={to_wire(name): to_wire(value) for name, value in variables.items()},
        cwd=to_wire(directory),
        umask=_umask(status),
        limits=resource_limits.current(),
        nice=os.getpriority(os.PRIO_PROCESS, 0),
        standing=credentials.standing(status),
        namespaces=credentials.namespaces(),
    )


def own_directory() -> str:
    """This process's directory by the name it is known by, symlinks kept: `$PWD` where that is right, as of a shell.

    Raises:
        FileNotFoundError: it has been removed.
    """
    real, named = os.getcwd(), os.environ.get("PWD", "")
    if named == real or named != os.path.normpath(named) or not os.path.isabs(named):
        return real
    try:
        return named if os.path.samefile(named, ".") else real
    except OSError:
        return real


def own_environment() -> dict[str, str]:
    """This process's environment, with the changes of this program, without those of Python."""
    variables = dict(os.environ)
    coerced = variables.get("LC_CTYPE")
    if coerced in _COERCED and coerced == locale.setlocale(locale.LC_CTYPE) and not _was_given("LC_CTYPE"):
        del variables["LC_CTYPE"]
    return variables


def _was_given(name: str) -> bool:
    """Whether this process was started with that variable. True where the system does not tell."""
    try:
        with open("/proc/self/environ", "rb") as first:
            return any(each.startswith(os.fsencode(name) + b"=") for each in first.read().split(b"\0"))
    except FileNotFoundError:
        import psutil  # 30 ms, where there is no /proc

        try:
            return name in psutil.Process().environ()
        except (psutil.Error, OSError):
            return True


def _umask(status: Mapping[str, str]) -> int:
    """This process's umask. Linux says it in /proc (4.7); elsewhere it can only be read by setting it for a moment."""
    if "Umask" in status:
        return int(status["Umask"], 8)
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
