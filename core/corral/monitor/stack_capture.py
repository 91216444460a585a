"""Captures the stacks of the Python and Java programs of a job: by py-spy or jcmd, only on request, and kept while they stand still."""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from itertools import islice
from typing import NamedTuple

from msgspec import structs

from corral.diagnosis.program_stacks import python_stacks
from corral.model.reports import Diagnosis, PythonStack, Wait
from corral.model.text import one_line
from corral.monitor.java_stacks import JavaStackCapture
from corral.platform.files.hanging_mounts import HangingMounts
from corral.platform.files.path_destination import HANGS, destination
from corral.platform.host.path_trust import why_untrusted_program
from corral.platform.inspect import py_spy
from corral.platform.process.cpu_clock import cpu_nanoseconds
from corral.platform.process.helper_process import ask_helper
from corral.platform.process.identity import ProcessIdentity, identify

SECONDS = 2.5
"""For all programs of one job together; one takes 70 ms."""
MOST_PROCESSES = 8
MOST_ASKED = 64
"""Processes of a job that are asked whether they run Python: it may cost a look at all their mappings."""
AT_ONCE = 2
MOST_BYTES = 4 << 20
KEPT = 64


class _PySpyCapture(NamedTuple):
    """What py-spy said of one program; `reason` why it said nothing."""

    stacks: tuple[PythonStack, ...] = ()
    reason: str | None = None


class StackCapture:
    """Adds the stacks of Python programs to diagnoses."""

    def __init__(self, reap: Callable[[], None], mounts: HangingMounts) -> None:
        """`reap` reaps any child of this process that has ended."""
        self._reap = reap
        self._mounts = mounts
        self._kept: OrderedDict[tuple[ProcessIdentity, int], _PySpyCapture] = OrderedDict()
        """By the CPU clock that it stood at: a program that has not run since stands where it stood."""
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._java = JavaStackCapture(reap, mounts)

    def can_capture(self, found: Diagnosis, family: Collection[int]) -> bool:
        """Whether the py-spy that came with Corral is there, and a Python program of the job for it to look at."""
        return py_spy.beside_interpreter() is not None and bool(_python_programs(found, family))

    async def add_stacks(self, found: Diagnosis, family: Collection[int], offered: str | None) -> Diagnosis:
        """The same with the stacks of the job's Java and Python programs, and why there are none of the others.

        `family` are the processes of the job. `offered` is the py-spy that the client's PATH has; one that came with
        Corral goes before it.
        """
        programs = _python_programs(found, family)
        found = await self._java.add_stacks(found, family)
        if not programs:
            return found
        candidates = [path for path in (py_spy.beside_interpreter(), offered) if path is not None]
        if not candidates:
            return _with_notes(found, [_how_to_install(programs)]) if _would_help(found, programs) else found
        reasons = {path: self._why_not(path) for path in candidates}
        path = next((path for path, reason in reasons.items() if reason is None), None)
        if path is None:
            reason = one_line(reasons[candidates[0]] or "")
            return _with_notes(found, [f"the Python stacks: py-spy is not used, since {reason}"])
        captures = await self._capture_all(path, programs)
        notes = [
            f"the Python stack of {_name_of(wait)}: {capture.reason}"
            for wait, capture in captures
            if capture.reason
        ]
        if len(programs) > MOST_PROCESSES:
            notes.append(f"the Python stacks of all but {MOST_PROCESSES} programs")
        stacks = tuple(stack for _, capture in captures for stack in capture.stacks)
        return _with_notes(structs.replace(found, stacks=(*found.stacks, *stacks)), notes)

    def _why_not(self, path: str) -> str | None:
        """Why a py-spy is not run. Looking at it and starting it must not block."""
        if os.path.isabs(path) and destination(path, self._mounts.may_hang).kind == HANGS:
            return f"{path} is on a file system that may hang"
        return why_untrusted_program(path)

    async def _capture_all(self, path: str, programs: list[Wait]) -> list[tuple[Wait, _PySpyCapture]]:
        tasks = [asyncio.create_task(self._capture(path, wait)) for wait in programs[:MOST_PROCESSES]]
        try:
            await asyncio.wait(tasks, timeout=SECONDS)
        finally:
            late = [task for task in tasks if not task.done()]
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        captures = [
            _PySpyCapture(reason=f"py-spy took longer than {SECONDS:g} s") if t.cancelled() else t.result()
            for t in tasks
        ]
        return list(zip(programs, captures, strict=False))

    async def _capture(self, path: str, wait: Wait) -> _PySpyCapture:
        async with self._turn:
            who, clock = identify(wait.pid), cpu_nanoseconds(wait.pid)
            if who is None or clock is None:
                return _PySpyCapture(reason="it has ended")
            kept = self._kept.get((who, clock))
            if kept is None:
                kept = await _ask(path, wait, self._reap)
                if cpu_nanoseconds(wait.pid) == clock and kept.stacks:
                    self._keep((who, clock), kept)
            return kept

    def _keep(self, key: tuple[ProcessIdentity, int], capture: _PySpyCapture) -> None:
        self._kept[key] = capture
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)


async def _ask(path: str, wait: Wait, reap: Callable[[], None]) -> _PySpyCapture:
    printed = await ask_helper(py_spy.command(path, wait.pid), SECONDS, MOST_BYTES, reap, "py-spy")
    if isinstance(printed, str):
        return _PySpyCapture(reason=printed)
    if not printed.out.strip():
        return _PySpyCapture(reason=_why_refused(path, wait.pid, printed.err))
    try:
        return _PySpyCapture(python_stacks(printed.out, wait.pid, wait.stage, wait.name))
    except ValueError:
        return _PySpyCapture(reason="what py-spy said was not understood")


def _why_refused(path: str, pid: int, err: bytes) -> str:
    """Why py-spy printed nothing, in our words where we know better."""
    if b"ermission denied" in err.lower() or b"Operation not permitted" in err:
        by_root = f"; `sudo {one_line(path)} dump --pid {pid}` shows it" if py_spy.may_help_as_root() else ""
        return f"{py_spy.why_refused(pid)}{by_root}"
    first = next((line for line in err.splitlines() if line.strip()), b"nothing at all")
    return f"py-spy said: {one_line(first)[:200]}"


def _python_programs(found: Diagnosis, family: Collection[int]) -> list[Wait]:
    """Those of the job itself, the root first; one more than are captured, to tell that there are more."""
    root = None if found.root is None else found.root.pid
    own = [wait for wait in found.waits if wait.pid in family and wait.kind != "zombie"]
    asked = sorted(own, key=lambda wait: wait.pid != root)[:MOST_ASKED]
    return list(islice((wait for wait in asked if py_spy.is_python(wait.pid)), MOST_PROCESSES + 1))


def _would_help(found: Diagnosis, programs: list[Wait]) -> bool:
    """Whether the stacks would help: the job does not move, and its chain of waits ends at a Python program."""
    return found.health != "active" and found.root is not None and found.root.pid == programs[0].pid


def _how_to_install(programs: list[Wait]) -> str:
    return (
        f"the Python stack of {_name_of(programs[0])}: py-spy is not installed; `pip install py-spy` gets it"
    )


def _name_of(wait: Wait) -> str:
    return f"{one_line(wait.name)} ({wait.pid})"


def _with_notes(found: Diagnosis, notes: Iterable[str]) -> Diagnosis:
    return structs.replace(found, not_looked_at=(*found.not_looked_at, *notes))
