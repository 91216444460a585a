"""Corral: run child processes and pipelines of them, watch them, say why one hangs, and end it for good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from corral.service.handles import JobError as JobError
    from corral.service.handles import JobHandle as JobHandle
    from corral.service.handles import OutputDroppedError as OutputDroppedError
    from corral.service.handles import Result as Result
    from corral.service.library import JobManager as JobManager
    from corral.service.library import connect as connect
    from corral.service.library import open as open  # noqa: A004
    from corral.service.manystarts import PartlyStartedError as PartlyStartedError
    from corral.values.errors import CannotStartError as CannotStartError
    from corral.values.errors import CorralError as CorralError
    from corral.values.errors import DaemonUnavailableError as DaemonUnavailableError
    from corral.values.errors import NotOpenError as NotOpenError
    from corral.values.errors import NotSoError as NotSoError
    from corral.values.errors import UnknownJobError as UnknownJobError
    from corral.values.errors import UsageError as UsageError
    from corral.values.errors import WrongTypeError as WrongTypeError
    from corral.values.jobs import Job as Job
    from corral.values.jobs import Pipe as Pipe
    from corral.values.jobs import Stage as Stage
    from corral.values.lifepast import LifePast as LifePast
    from corral.values.reports import Diagnosis as Diagnosis
    from corral.values.reports import StopReport as StopReport
    from corral.values.spec import Command as Command
    from corral.values.spec import Pipeline as Pipeline
    from corral.values.spec import Redirection as Redirection
    from corral.values.story import Story as Story

__version__ = "0.1.0"

_HOMES = {
    "corral.service.handles": ("JobError", "JobHandle", "OutputDroppedError", "Result"),
    "corral.service.library": ("JobManager", "connect", "open"),
    "corral.service.manystarts": ("PartlyStartedError",),
    "corral.values.errors": (
        "CannotStartError",
        "CorralError",
        "DaemonUnavailableError",
        "NotOpenError",
        "NotSoError",
        "UnknownJobError",
        "UsageError",
        "WrongTypeError",
    ),
    "corral.values.jobs": ("Job", "Pipe", "Stage"),
    "corral.values.reports": ("Diagnosis", "StopReport"),
    "corral.values.spec": ("Command", "Pipeline", "Redirection"),
    "corral.values.lifepast": ("LifePast",),
    "corral.values.story": ("Story",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Imported when first used: the command line imports this package too, and must not pay for asyncio."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'corral' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME_OF])
