"""Starting one child: Popen with everything that is Corral's about it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence

from corral.system import limits, mark, scheduling
from corral.system.lookups import refused
from corral.system.mark import Mark
from corral.system.terminal import taking
from corral.values.errors import CannotStartError
from corral.values.spec import Scheduling


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
    shares: Scheduling | None = None,
    terminal: int | None = None,
) -> subprocess.Popen[bytes]:
    """Start one stage in a session of its own. `descriptors` become its 0, 1 and 2 and stay open here.

    `shares`: of the machine, where they are not those of this process. `terminal`, our descriptor of one, becomes its
    controlling terminal; as `limit_plan.inside` it costs a real fork.

    Raises:
        CannotStartError: 126 where the kernel refuses the program, 125 where there is no process or memory for it.
    """
    stdin, stdout, stderr = descriptors
    try:
        with mark.worn(worn_mark), scheduling.worn(shares), limits.worn(limit_plan.around):
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
                # The terminal first, in the new session. None lets Popen use vfork(2).
                preexec_fn=both(None if terminal is None else taking(terminal), limit_plan.inside),
            )
    except (OSError, subprocess.SubprocessError, ValueError, MemoryError) as error:
        raise _explained(error, argv[0], cwd) from None


def both(first: Callable[[], None] | None, second: Callable[[], None] | None) -> Callable[[], None] | None:
    """One call that does both."""
    if first is None or second is None:
        return first or second

    def do_both() -> None:
        first()
        second()

    return do_both


def _explained(error: Exception, name: str, cwd: str) -> CannotStartError:
    if isinstance(error, subprocess.SubprocessError):
        return CannotStartError(
            f"{name}: the client's limits, or its terminal, could not be given to it ({error})", 125
        )
    filename = error.filename if isinstance(error, OSError) else None
    if filename is not None and os.fsdecode(filename) == cwd and not os.path.isdir(cwd):
        return CannotStartError(f"no such directory: {cwd}", 125)
    return refused(error, name)
