"""Starting one child: Popen with everything that is Corral's about it."""

from __future__ import annotations

import mmap
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from corral.model.errors import CannotStartError
from corral.platform.files.pty import make_controlling
from corral.platform.process import mark
from corral.platform.process.mark import Mark
from corral.platform.spawn.child_setup import apply_settings
from corral.platform.spawn.executables import refused
from corral.platform.spawn.inheritance import ChildSettings, applied

NOTHING_ELSE = ChildSettings()
_LONGEST_REASON = 512


def spawn(
    argv: Sequence[str],
    executable: str,
    descriptors: tuple[int, int, int],
    *,
    cwd: str,
    environment: Mapping[bytes, bytes],
    umask: int,
    carried_mark: Mark | None,
    settings: ChildSettings = NOTHING_ELSE,
    terminal: int | None = None,
) -> subprocess.Popen[bytes]:
    """Start one stage in a session of its own. `descriptors` become its 0, 1 and 2 and stay open here.

    `settings`: what is not as this process has it. `terminal`, our descriptor of one, becomes its controlling terminal; as
    what is `inside` the settings it costs a real fork.

    Raises:
        CannotStartError: 126 where the kernel refuses the program, 125 where there is no process or memory for it.
    """
    stdin, stdout, stderr = descriptors
    try:
        with mark.applied(carried_mark), applied(settings):
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
                preexec_fn=_before_exec(terminal, settings),
            )
    except (OSError, subprocess.SubprocessError, ValueError, MemoryError) as error:
        raise _explained(error, argv[0], cwd) from None


def _before_exec(terminal: int | None, settings: ChildSettings) -> Callable[[], None] | None:
    if terminal is None and settings.inside is None:
        return None
    board = _board()
    board[:] = bytes(_LONGEST_REASON)

    def do_both() -> None:
        try:
            if terminal is not None:
                make_controlling(terminal)
            if settings.inside is not None:
                apply_settings(settings.inside)
        except BaseException as error:
            reason = os.fsencode(str(error))[:_LONGEST_REASON]
            board[: len(reason)] = reason
            raise

    return do_both


@lru_cache(maxsize=1)
def _board() -> mmap.mmap:
    """Memory that a child shares with us, to write on why it failed: of that, Popen tells nothing."""
    return mmap.mmap(-1, _LONGEST_REASON)


def _explained(error: Exception, name: str, cwd: str) -> CannotStartError:
    if isinstance(error, subprocess.SubprocessError):
        return CannotStartError(f"{name}: {os.fsdecode(_board()[:].rstrip(bytes(1))) or error}", 125)
    filename = error.filename if isinstance(error, OSError) else None
    if filename is not None and os.fsdecode(filename) == cwd and not os.path.isdir(cwd):
        return CannotStartError(f"no such directory: {cwd}", 125)
    return refused(error, name)
