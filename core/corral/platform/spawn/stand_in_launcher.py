"""Starting a stand-in (`corral.platform.spawn.stand_in`), and the line to it. It inherits nothing of this process but that line.

A process of its own and no thread: a thread that waits in the kernel cannot be ended, and execve(2) and the exit of the
whole process would wait with it. Nor a fork of this process: it would hold all that we have open.
"""

from __future__ import annotations

import marshal
import socket
import subprocess
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import IO, NamedTuple

from corral.model import errors
from corral.model.errors import CannotStartError
from corral.platform.files import path_destination, redirections
from corral.platform.files.descriptors import move_high, unnamed_file
from corral.platform.host import resource_errors
from corral.platform.process import prctl
from corral.platform.process.identity import ProcessIdentity, identify
from corral.platform.process.pidfd import open_pidfd_to_keep
from corral.platform.spawn import child_setup, executables, stand_in
from corral.platform.spawn.executables import refused
from corral.platform.spawn.inheritance import ChildSettings, applied

_MODULES = (
    errors,
    resource_errors,
    prctl,
    path_destination,
    child_setup,
    executables,
    redirections,
    stand_in,
)
"""What it runs, in the order of their imports."""
_BOOT = "import marshal, sys; exec(marshal.load(sys.stdin.buffer))"
_BEGINNING = """\
def new(name):
    package = name.rpartition(".")[0]
    if package and package not in sys.modules:
        new(package).__path__ = []
    module = sys.modules[name] = type(sys)(name)
    return module
for name, code in marshal.load(sys.stdin.buffer):
    module = new(name)
    exec(code, module.__dict__)
module.main(marshal.load(sys.stdin.buffer))
"""
_MOST_AT_A_TIME = 1 << 16


class StartedStandIn(NamedTuple):
    """A stand-in, our child. `line` and `pidfd` are the caller's to close."""

    identity: ProcessIdentity
    line: socket.socket
    pidfd: int | None


def start_stand_in(plan: Mapping[str, object], title: str, settings: ChildSettings) -> StartedStandIn:
    """Start one. `plan` is a `standin.StagePlan`; `title` is shown in its command line; of the
    `settings` it gets here what can be applied to this process during the spawn.

    Raises:
        CannotStartError: 125, there is no process or descriptor for it.
    """
    given = tuple(plan["given"].values())  # type: ignore[attr-defined]
    try:
        ours, theirs = socket.socketpair()
        with theirs, _file_of(plan) as told:
            try:
                with applied(settings, soft_limits=False):
                    process = _started(title, told, theirs, given)
            except BaseException:
                ours.close()
                raise
    except (OSError, subprocess.SubprocessError, ValueError, MemoryError) as error:
        raise refused(error, "a process that opens its files") from None
    # The reaper of orphans reaps it, too, and this handle never waits for its pid.
    process.returncode = 0
    identity = identify(process.pid)
    if identity is None:
        ours.close()
        raise CannotStartError("the process that opens its files could not be looked at in /proc")
    return StartedStandIn(identity, moved_high(ours), open_pidfd_to_keep(process.pid))


def moved_high(line: socket.socket) -> socket.socket:
    """The line, out of the way and never blocking."""
    line = socket.socket(fileno=move_high(line.detach()))
    line.setblocking(False)
    return line


def _started(
    title: str, told: IO[bytes], line: socket.socket, given: tuple[int, ...]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        # The same encoding as ours, whatever the locale; nothing of the user's is imported or believed.
        [sys.executable, "-I", "-S", "-X", "utf8", "-c", _BOOT, title],
        stdin=told.fileno(),
        stdout=line.fileno(),
        stderr=subprocess.DEVNULL,
        cwd="/",
        close_fds=bool(given),
        pass_fds=given,
        start_new_session=True,
    )


def _file_of(plan: Mapping[str, object]) -> IO[bytes]:
    """The plan may be larger than a socket takes at once."""
    file = unnamed_file("stage")
    file.write(_sources())
    file.write(marshal.dumps(dict(plan)))
    file.seek(0)
    return file


@lru_cache(maxsize=1)
def _sources() -> bytes:
    """The code of the stand-in, as it is in this process: an upgrade on the disk changes nothing for a daemon that runs."""
    codes = []
    for module in _MODULES:
        spec = module.__spec__
        assert spec is not None
        assert spec.loader is not None
        codes.append((spec.name, spec.loader.get_code(spec.name)))  # type: ignore[attr-defined]
    return marshal.dumps(compile(_BEGINNING, "beginning", "exec")) + marshal.dumps(codes)


def prepare() -> None:
    """Load that code now, while it is that of this program."""
    _sources()


def receive(line: socket.socket) -> bytes | None:
    """Some bytes of what it says; none once it has become the program, or ended; None where there is nothing now."""
    try:
        return line.recv(_MOST_AT_A_TIME)
    except BlockingIOError:
        return None
    except ConnectionError:
        return b""


def send_go(line: socket.socket, table: tuple[int, int, int]) -> None:
    """Let it go on with these descriptors 0, 1 and 2. Raises OSError."""
    socket.send_fds(line, [stand_in.GO], list(table))
