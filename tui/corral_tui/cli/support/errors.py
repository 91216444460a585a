"""Error handling for all verbs: one line on stderr for every error, and the documented exit statuses."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable

from corral.model.errors import CannotStartError, CorralError
from corral_tui.blocked_terminal import silence
from corral_tui.text.terminal_output import visible

TYPE_CHECKING = False  # typing, which has it, takes longer to load than the rest of `ps`
if TYPE_CHECKING:
    from typing import TextIO

CORRAL_FAILED = 125
INTERRUPTED = 130
OUTPUT_CLOSED = 141

WRAPPING_VERBS = frozenset({"run", "each", "wait", "attach"})
"""Verbs that exit with the job's status: every other error is 125, as with timeout(1) and env(1)."""


def guarded(words: list[str], dispatch: Callable[[list[str]], int]) -> int:
    """Run `dispatch(words)`; turn any error into one line on stderr and an exit status."""
    try:
        if sys.platform == "win32":
            raise CorralError("Windows is not supported yet: Corral needs Linux or macOS; WSL works")
        _prepare_streams()
        status = dispatch(words)
        sys.stdout.flush()
        return status
    except CorralError as error:
        complain(str(error))
        return status_of(error, words)
    except KeyboardInterrupt:
        return _leave_quietly(INTERRUPTED)
    except BrokenPipeError:
        return _leave_quietly(OUTPUT_CLOSED)
    except OSError as error:
        complain(_os_error_text(error))
        return _leave_quietly(CORRAL_FAILED)
    except Exception as error:  # noqa: BLE001 - last resort: the user never sees a traceback
        complain(
            f"unexpected {type(error).__name__}: {error}; details are in {_keep_details()}; please report it"
        )
        return _leave_quietly(CORRAL_FAILED)


def status_of(error: CorralError, words: list[str]) -> int:
    """The exit status for `error` in the verb that `words` start with."""
    if isinstance(error, CannotStartError) and words[:1] in (["run"], ["each"]):
        return error.status
    if words[:1] and words[0] in WRAPPING_VERBS:
        return CORRAL_FAILED
    return error.exit_status


def complain(*messages: str) -> None:
    """Print `corral: message` as one line each on stderr, with control characters of names and paths made visible."""
    if not messages:
        return
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        silence(1)  # Nobody reads stdout any more, but stderr may still be read.
    lines = (visible(" ".join(message.split("\n"))) for message in messages)
    try:
        sys.stderr.write("".join(f"corral: {line}\n" for line in lines))
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        silence(2)  # stderr is closed or None


def _prepare_streams() -> None:
    """Make the standard streams exist, even if started with closed descriptors, and never raise encoding errors."""
    if sys.stdin is None:
        silence(0)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - open for the life of the process
    if sys.stdout is None:
        sys.stdout = _on_null(1)
    if sys.stderr is None:
        sys.stderr = _on_null(2)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _on_null(descriptor: int) -> TextIO:
    """Open /dev/null on the closed `descriptor`; else the next file opened would get its number."""
    silence(descriptor)
    return open(descriptor, "w", closefd=False)


def _leave_quietly(status: int) -> int:
    """Flush stdout now, so that the interpreter reports no error about it at exit."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        silence(1)
    return status


def _os_error_text(error: OSError) -> str:
    what = error.strerror or str(error)
    return f"{os.fsdecode(error.filename)}: {what}" if error.filename is not None else what


def _keep_details() -> str:
    """Write the traceback to a file that only the user can read, and return its path."""
    import tempfile
    import traceback

    descriptor, path = tempfile.mkstemp(prefix="corral-error-", suffix=".txt", text=True)
    with open(descriptor, "w", errors="backslashreplace") as file:
        file.write(f"corral {' '.join(map(repr, sys.argv[1:2]))}\n")
        traceback.print_exc(file=file)
    return path
