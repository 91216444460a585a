"""Where the Java programs of a job stand: asked of jcmd, only when somebody asks why, and kept for a moment."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import NamedTuple

from msgspec import structs

from corral.manage.helping import output_of
from corral.observe.program_stacks import deadlock_in, deadlock_in_words, java_stacks
from corral.system import jvm
from corral.system.destinations import HANGS, destination
from corral.system.identity import ProcessIdentity, identify
from corral.system.mounts import HangingMounts
from corral.values.reports import Diagnosis, PythonStack, Wait
from corral.values.text import one_line

SECONDS = 2.5
"""For one program; jcmd takes 0.2 to 0.5 s, most of it CPU time of its own."""
MOST_BYTES = 4 << 20
KEPT_SECONDS = 5.0
"""A Java program always moves a little, so its clock does not tell whether it stands where it stood."""
KEPT = 16
MOST_ASKED = 64
JAVA = "java"


class _Looked(NamedTuple):
    stacks: tuple[PythonStack, ...] = ()
    deadlock: str | None = None
    reason: str | None = None


class JavaSpy:
    """Adds to diagnoses where the Java program of a job stands. Of several the first is asked: each asking costs CPU time."""

    def __init__(self, reap: Callable[[], None], mounts: HangingMounts) -> None:
        """`reap` reaps any child of this process that has ended."""
        self._reap = reap
        self._mounts = mounts
        self._kept: OrderedDict[ProcessIdentity, tuple[float, _Looked]] = OrderedDict()

    async def add_stacks(self, found: Diagnosis, family: Collection[int]) -> Diagnosis:
        """The same with the stacks, and a deadlock that Java has found in the first sentence."""
        own = (one for one in found.waits[:MOST_ASKED] if one.pid in family and one.name == JAVA)
        wait = next((one for one in own if jvm.is_java(one.pid)), None)
        who = None if wait is None else identify(wait.pid)
        if wait is None or who is None:
            return found
        looked = await self._looked(who, wait)
        if looked.reason is not None:
            note = f"the Java stack of {one_line(wait.name)} ({wait.pid}): {looked.reason}"
            return structs.replace(found, not_looked_at=(*found.not_looked_at, note))
        stacks = (*found.stacks, *looked.stacks)
        if looked.deadlock is None:
            return structs.replace(found, stacks=stacks)
        return structs.replace(found, stacks=stacks, summary=f"{one_line(wait.name)} {looked.deadlock}")

    async def _looked(self, who: ProcessIdentity, wait: Wait) -> _Looked:
        at, kept = self._kept.get(who, (0.0, _Looked()))
        if time.monotonic() - at > KEPT_SECONDS:
            kept = await self._ask(wait)
            self._kept[who] = time.monotonic(), kept
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return kept

    async def _ask(self, wait: Wait) -> _Looked:
        jcmd = jvm.jcmd_of(wait.pid)
        if jcmd is None:
            return _Looked(reason="it has ended")
        if destination(jcmd, self._mounts.may_hang).kind == HANGS:
            return _Looked(reason=f"{jcmd} is on a file system that may hang")
        reason = jvm.why_not_asked(wait.pid, jcmd)
        if reason is not None:
            return _Looked(reason=one_line(reason))
        try:
            printed = await output_of(jvm.command(jcmd, wait.pid), SECONDS, MOST_BYTES, self._reap)
        except OSError as error:
            return _Looked(reason=f"{one_line(jcmd)}: {error.strerror}")
        if not printed.is_whole:
            return _Looked(reason=f"jcmd took longer than {SECONDS:g} s, or said too much")
        dump = printed.out.decode("utf-8", "replace")
        threads = deadlock_in(dump)
        stacks = java_stacks(dump, wait.pid, wait.stage, wait.name)
        if not stacks:
            return _Looked(reason=f"jcmd said: {one_line(printed.err or printed.out)[:200]}")
        return _Looked(stacks, deadlock_in_words(threads) if threads else None)
