"""Corral: run child processes and pipelines of them, watch them, say why one hangs, and end it for good.

    import asyncio
    import corral

    async def main() -> None:
        async with corral.open() as manager:
            result = await manager.run("sort names.txt | uniq -c", timeout=60)
            print(result.stdout.decode())

    asyncio.run(main())

`open` gives a `JobManager` with jobs of one's own, `connect` one for the jobs of the user's daemon. `start` and
`start_many` of a manager give a `JobHandle`; `Options` are what these and `run` take. What is told of a job are frozen
values: `Job`, `Result`, `Diagnosis`, `StopReport`, `Story`. Every error is a `CorralError`.

docs/library.md has a section for each kind of job, every method and every option.
"""

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
    from corral.service.options import CommandLike as CommandLike
    from corral.service.options import Options as Options
    from corral.values.commandline import CommandLineError as CommandLineError
    from corral.values.errors import CannotStartError as CannotStartError
    from corral.values.errors import CorralError as CorralError
    from corral.values.errors import DaemonUnavailableError as DaemonUnavailableError
    from corral.values.errors import NotOpenError as NotOpenError
    from corral.values.errors import NotSoError as NotSoError
    from corral.values.errors import OtherSurroundingsError as OtherSurroundingsError
    from corral.values.errors import ProtocolMismatchError as ProtocolMismatchError
    from corral.values.errors import UnknownJobError as UnknownJobError
    from corral.values.errors import UsageError as UsageError
    from corral.values.errors import WrongTypeError as WrongTypeError
    from corral.values.history import LifePast as LifePast
    from corral.values.jobs import Health as Health
    from corral.values.jobs import Job as Job
    from corral.values.jobs import Limiter as Limiter
    from corral.values.jobs import Pipe as Pipe
    from corral.values.jobs import ProcessView as ProcessView
    from corral.values.jobs import Stage as Stage
    from corral.values.jobs import StageTime as StageTime
    from corral.values.jobs import State as State
    from corral.values.jobs import Stopping as Stopping
    from corral.values.reports import Advice as Advice
    from corral.values.reports import Diagnosis as Diagnosis
    from corral.values.reports import Frame as Frame
    from corral.values.reports import PythonStack as PythonStack
    from corral.values.reports import Root as Root
    from corral.values.reports import StoppedProcess as StoppedProcess
    from corral.values.reports import StopReport as StopReport
    from corral.values.reports import Story as Story
    from corral.values.reports import Survivor as Survivor
    from corral.values.reports import Wait as Wait
    from corral.values.reports import WaitKind as WaitKind
    from corral.values.spec import Command as Command
    from corral.values.spec import Pipeline as Pipeline
    from corral.values.spec import Redirection as Redirection
    from corral.version import __version__ as __version__

_HOMES = {
    "corral.service.handles": "JobError JobHandle OutputDroppedError Result",
    "corral.service.library": "JobManager connect open",
    "corral.service.manystarts": "PartlyStartedError",
    "corral.service.options": "CommandLike Options",
    "corral.values.commandline": "CommandLineError",
    "corral.values.errors": "CannotStartError CorralError DaemonUnavailableError NotOpenError NotSoError OtherSurroundingsError ProtocolMismatchError UnknownJobError UsageError WrongTypeError",
    "corral.values.jobs": "Health Job Limiter Pipe ProcessView Stage StageTime State Stopping",
    "corral.values.history": "LifePast",
    "corral.values.reports": "Advice Diagnosis Frame PythonStack Root StoppedProcess StopReport Story Survivor Wait WaitKind",
    "corral.values.spec": "Command Pipeline Redirection",
    "corral.version": "__version__",
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = [*_HOME_OF]


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})


if not TYPE_CHECKING:  # A type checker would take every name for one of ours.

    def __getattr__(name: str) -> Any:
        """Imported when first used: the command line imports this package too, and must not pay for asyncio."""
        if name not in _HOME_OF:
            raise AttributeError(f"module 'corral' has no attribute {name!r}")
        from importlib import import_module

        value = globals()[name] = getattr(import_module(_HOME_OF[name]), name)
        return value
