"""What a job inherits: the surroundings of the client at the moment of the command."""

from __future__ import annotations

import os

from corral.service.starter import NEVER_INHERITED
from corral.system import limits
from corral.values.errors import CorralError
from corral.values.spec import Surroundings
from corral.values.wire import to_wire


def surroundings(*, environment: dict[str, str] | None = None, cwd: str | None = None) -> Surroundings:
    """The surroundings of this process.

    Args:
        environment: in place of this process's, whole.
        cwd: in place of this process's directory; relative to it.

    Raises:
        CorralError: this process's own directory has been removed and `cwd` is not absolute.
    """
    variables = dict(os.environ if environment is None else environment)
    for name in NEVER_INHERITED:
        variables.pop(name, None)
    try:
        directory = os.path.abspath(cwd or os.getcwd())
    except FileNotFoundError:
        raise CorralError(
            "the current directory has been removed; cd to one that exists, or give --cwd"
        ) from None
    return Surroundings(
        environment={to_wire(name): to_wire(value) for name, value in variables.items()},
        cwd=to_wire(directory),
        umask=_umask(),
        limits=limits.current(),
        nice=os.getpriority(os.PRIO_PROCESS, 0),
    )


def _umask() -> int:
    """This process's umask. Linux says it in /proc (4.7); elsewhere it can only be read by setting it for a moment."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("Umask:"):
                    return int(line.split()[1], 8)
    except FileNotFoundError:
        pass
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
