"""Errors that a user sees: one line that says what, where, and what to do. Each knows its exit status."""

from __future__ import annotations

import reprlib

TYPE_CHECKING = False  # typing, which has it, takes longer to load than the rest of `ps`
if TYPE_CHECKING:
    from typing import ClassVar

_MOST_QUOTED = 80
"""Characters of a value in an error message."""


class CorralError(Exception):
    """Corral itself could not do it."""

    kind: ClassVar[str] = "failed"
    exit_status: ClassVar[int] = 125


class UsageError(CorralError):
    """The request makes no sense as written."""

    kind = "usage"
    exit_status = 2


class WrongTypeError(UsageError, TypeError):
    """An argument or an option is of a type that it cannot be."""


class NotOpenError(CorralError):
    """A manager, or a job of it, is used where it cannot be: before or after its `async with` block, in another event
    loop or thread than that of the block, or in a forked child."""


class NotSoError(CorralError):
    """Valid, but not possible as things are: an unknown id, nothing to resume, survivors."""

    kind = "not_so"
    exit_status = 1


class UnknownJobError(NotSoError):
    """No job has this id or name, or several unended ones have this name."""

    kind = "unknown_job"


class CannotStartError(CorralError):
    """A job could not be started; `status` is 127 not found, 126 not executable, else 125."""

    kind = "cannot_start"

    def __init__(self, message: str, status: int = 125, job: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.job = job


class OtherSurroundingsError(CorralError):
    """The daemon cannot give a job the namespaces, groups or higher limits of its client."""

    kind = "surroundings"


class DaemonUnavailableError(CorralError):
    """No daemon answers, and none could be started."""

    kind = "unavailable"


class UnreachableDaemonError(DaemonUnavailableError):
    """A daemon runs, as its lock shows, but nothing listens on its socket."""

    def __init__(self, message: str, pid: int) -> None:
        super().__init__(message)
        self.pid = pid


class ProtocolMismatchError(CorralError):
    """The daemon speaks another protocol number."""

    kind = "protocol"


class BadLineError(CorralError):
    """A line on the socket was not a request."""

    number: int | None = None

    kind = "bad_line"


ERRORS: dict[str, type[CorralError]] = {
    cls.kind: cls
    for cls in (
        CorralError,
        UsageError,
        NotSoError,
        UnknownJobError,
        CannotStartError,
        OtherSurroundingsError,
        DaemonUnavailableError,
        ProtocolMismatchError,
        BadLineError,
    )
}

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _MOST_QUOTED - 20


def brief_repr(value: object) -> str:
    """`value` as Python writes it, shortened if long; its type if it cannot be written."""
    try:
        text = _repr.repr(value)
    except ValueError:  # an int of more digits than Python writes (sys.set_int_max_str_digits)
        text = f"<{type(value).__name__}>"
    return shorten(text)


def shorten(text: str) -> str:
    """`text`, or its beginning if it is too long for an error message."""
    return text if len(text) <= _MOST_QUOTED else text[: _MOST_QUOTED - 1] + "…"
