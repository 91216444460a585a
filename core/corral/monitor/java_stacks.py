"""Captures the stacks of the Java programs of a job by jcmd: only on request, and kept for a few seconds."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import NamedTuple

from msgspec import Struct, field, structs

from corral.diagnosis.program_stacks import deadlock_in, deadlock_in_words, java_stacks
from corral.model.reports import Diagnosis, PythonStack, Wait
from corral.model.text import one_line
from corral.platform.files.hanging_mounts import HangingMounts
from corral.platform.files.path_destination import HANGS, destination
from corral.platform.inspect import jcmd
from corral.platform.process.helper_process import ask_helper
from corral.platform.process.identity import ProcessIdentity, identify

SECONDS = 2.5
"""For one program; jcmd takes 0.2 to 0.5 s, most of it CPU time of its own."""
MOST_BYTES = 4 << 20
KEPT_SECONDS = 5.0
"""A Java program always moves a little, so its clock does not tell whether it stands where it stood."""
KEPT = 16
MOST_ASKED = 64
JAVA = "java"


class _JcmdCapture(NamedTuple):
    stacks: tuple[PythonStack, ...] = ()
    deadlock: str | None = None
    reason: str | None = None


class JavaStackCapture(Struct, eq=False):
    """Adds the stacks of the Java program of a job to diagnoses. Of several only the first: each capture costs CPU time."""

    _reap: Callable[[], None]
    """Reaps any child of this process that has ended."""
    _mounts: HangingMounts
    _kept: OrderedDict[ProcessIdentity, tuple[float, _JcmdCapture]] = field(default_factory=OrderedDict)

    async def add_stacks(self, found: Diagnosis, family: Collection[int]) -> Diagnosis:
        """The same with the stacks, and a deadlock that Java has found in the first sentence."""
        own = (one for one in found.waits[:MOST_ASKED] if one.pid in family and one.name == JAVA)
        wait = next((one for one in own if jcmd.is_java(one.pid)), None)
        who = None if wait is None else identify(wait.pid)
        if wait is None or who is None:
            return found
        capture = await self._captured(who, wait)
        if capture.reason is not None:
            note = f"the Java stack of {one_line(wait.name)} ({wait.pid}): {capture.reason}"
            return structs.replace(found, not_looked_at=(*found.not_looked_at, note))
        stacks = (*found.stacks, *capture.stacks)
        if capture.deadlock is None:
            return structs.replace(found, stacks=stacks)
        return structs.replace(found, stacks=stacks, summary=f"{one_line(wait.name)} {capture.deadlock}")

    async def _captured(self, who: ProcessIdentity, wait: Wait) -> _JcmdCapture:
        at, kept = self._kept.get(who, (0.0, _JcmdCapture()))
        if time.monotonic() - at > KEPT_SECONDS:
            kept = await self._ask(wait)
            self._kept[who] = time.monotonic(), kept
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return kept

    async def _ask(self, wait: Wait) -> _JcmdCapture:
        program = jcmd.jcmd_of(wait.pid)
        if program is None:
            return _JcmdCapture(reason="it has ended")
        if destination(program, self._mounts.may_hang).kind == HANGS:
            return _JcmdCapture(reason=f"{program} is on a file system that may hang")
        reason = jcmd.why_not_asked(wait.pid, program)
        if reason is not None:
            return _JcmdCapture(reason=one_line(reason))
        printed = await ask_helper(jcmd.command(program, wait.pid), SECONDS, MOST_BYTES, self._reap, "jcmd")
        if isinstance(printed, str):
            return _JcmdCapture(reason=printed)
        dump = printed.out.decode("utf-8", "replace")
        threads = deadlock_in(dump)
        stacks = java_stacks(dump, wait.pid, wait.stage, wait.name)
        if not stacks:
            return _JcmdCapture(reason=f"jcmd said: {one_line(printed.err or printed.out)[:200]}")
        return _JcmdCapture(stacks, deadlock_in_words(threads) if threads else None)
