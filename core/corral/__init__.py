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

TYPE_CHECKING = False  # typing, which has it, takes longer to load than the rest of `ps`
if TYPE_CHECKING:
    from typing import Any

    from corral.commandline.parser import CommandLineError as CommandLineError
    from corral.library.batch import Batch as Batch
    from corral.library.job_handle import JobError as JobError
    from corral.library.job_handle import JobHandle as JobHandle
    from corral.library.job_handle import OutputDroppedError as OutputDroppedError
    from corral.library.job_handle import Result as Result
    from corral.library.manager import JobManager as JobManager
    from corral.library.manager import connect as connect
    from corral.library.manager import open as open  # noqa: A004
    from corral.library.many_starts import PartlyStartedError as PartlyStartedError
    from corral.library.options import CommandLike as CommandLike
    from corral.library.options import Options as Options
    from corral.model.batch import Attempt as Attempt
    from corral.model.batch import BatchProgress as BatchProgress
    from corral.model.batch import FailureGroup as FailureGroup
    from corral.model.errors import CannotStartError as CannotStartError
    from corral.model.errors import CorralError as CorralError
    from corral.model.errors import DaemonUnavailableError as DaemonUnavailableError
    from corral.model.errors import NotOpenError as NotOpenError
    from corral.model.errors import NotSoError as NotSoError
    from corral.model.errors import OtherSurroundingsError as OtherSurroundingsError
    from corral.model.errors import ProtocolMismatchError as ProtocolMismatchError
    from corral.model.errors import UnknownJobError as UnknownJobError
    from corral.model.errors import UsageError as UsageError
    from corral.model.errors import WrongTypeError as WrongTypeError
    from corral.model.history import LifePast as LifePast
    from corral.model.job import Health as Health
    from corral.model.job import Job as Job
    from corral.model.job import Kind as Kind
    from corral.model.job import Limiter as Limiter
    from corral.model.job import Pipe as Pipe
    from corral.model.job import ProcessView as ProcessView
    from corral.model.job import Stage as Stage
    from corral.model.job import StageTime as StageTime
    from corral.model.job import State as State
    from corral.model.job import Stopping as Stopping
    from corral.model.reports import Advice as Advice
    from corral.model.reports import Diagnosis as Diagnosis
    from corral.model.reports import Frame as Frame
    from corral.model.reports import PythonStack as PythonStack
    from corral.model.reports import Root as Root
    from corral.model.reports import StoppedProcess as StoppedProcess
    from corral.model.reports import StopReport as StopReport
    from corral.model.reports import Story as Story
    from corral.model.reports import Survivor as Survivor
    from corral.model.reports import Wait as Wait
    from corral.model.reports import WaitKind as WaitKind
    from corral.model.spec import Command as Command
    from corral.model.spec import Pipeline as Pipeline
    from corral.model.spec import Redirection as Redirection
    from corral.version import __version__ as __version__

_HOMES = {
    "corral.library.batch": "Batch",
    "corral.library.job_handle": "JobError JobHandle OutputDroppedError Result",
    "corral.library.manager": "JobManager connect open",
    "corral.library.many_starts": "PartlyStartedError",
    "corral.library.options": "CommandLike Options",
    "corral.commandline.parser": "CommandLineError",
    "corral.model.batch": "Attempt BatchProgress FailureGroup",
    "corral.model.errors": "CannotStartError CorralError DaemonUnavailableError NotOpenError NotSoError OtherSurroundingsError ProtocolMismatchError UnknownJobError UsageError WrongTypeError",
    "corral.model.job": "Health Job Kind Limiter Pipe ProcessView Stage StageTime State Stopping",
    "corral.model.history": "LifePast",
    "corral.model.reports": "Advice Diagnosis Frame PythonStack Root StoppedProcess StopReport Story Survivor Wait WaitKind",
    "corral.model.spec": "Command Pipeline Redirection",
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
