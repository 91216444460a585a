"""The one place of Corral that sends signals, the one function that marks, and all that they refuse.

A mistake here ends the user's whole login, so nothing above this module ever signals by itself. It takes a process
identity, never a bare number, and asks the kernel who that is at the moment of sending.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Collection

from corral.platform.host.procfs import Stat, read_stat
from corral.platform.process import mark, pidfd
from corral.platform.process.identity import ProcessIdentity, identify
from corral.platform.process.kinship import ENOUGH_EVIDENCE, Kinship

CONT, KILL, TERM = signal.SIGCONT, signal.SIGKILL, signal.SIGTERM


class RefusedSignalError(Exception):
    """The target is not provably a process of a job of this home."""


class Signaller:
    """Sends signals to processes of the jobs of one home.

    Args:
        nonce: the nonce of this home, or None where marks do not work and kinship has to prove it.
    """

    def __init__(self, nonce: int | None) -> None:
        self._nonce = nonce
        self._uses_pidfd = pidfd.is_supported()
        self._ancestry: tuple[int, set[int]] | None = None

    def send(self, target: ProcessIdentity, *numbers: int, kin: Kinship | None = None) -> bool:
        """Send `numbers` in order to that very process. False where it has ended, which is success.

        Raises:
            RefusedSignalError: the target is not provably one of ours.
            PermissionError: it is, but the kernel does not let us (it changed its uid).
        """
        pid = _checked(target)
        if not self._uses_pidfd:
            return self._send_by_pid(target, numbers, kin)
        # The pidfd first, the questions second: what is asked then holds for the process that the pidfd is of.
        descriptor = pidfd.open_pidfd(pid)
        if descriptor is None:
            return False
        try:
            if not self._is_that_one(target, kin):
                return False
            return self._each(numbers, lambda number: pidfd.send_signal(descriptor, number))
        finally:
            os.close(descriptor)

    def restore_mark(self, target: ProcessIdentity, expected: mark.Mark, kin: Kinship) -> bool:
        """Give that very process, which is of the job but does not say so, the mark of its job. False where it has ended.

        What it starts from now on inherits it. As careful as `send`: a marked stranger would be ended with the job.

        Raises:
            RefusedSignalError: the target is not provably one of the job's.
            PermissionError: it is, but cannot carry the mark.
        """
        pid = _checked(target)
        if expected.job != kin.job or expected.nonce != self._nonce:
            raise RefusedSignalError(f"pid {pid} is not marked for another job")
        if not self._is_that_one(target, kin):
            return False
        try:
            before = mark.put(pid, expected)
        except ProcessLookupError:
            return False
        # prlimit(2) takes a number. Where that is still the same process it was so all along.
        if identify(pid) == target:
            return True
        mark.put_back(pid, expected, before)
        return False

    @staticmethod
    def _each(numbers: Collection[int], send: Callable[[int], bool]) -> bool:
        return all(send(number) for number in numbers)

    def _send_by_pid(self, target: ProcessIdentity, numbers: Collection[int], kin: Kinship | None) -> bool:
        if not self._is_that_one(target, kin):
            return False

        def send(number: int) -> bool:
            try:
                os.kill(target.pid, number)
            except ProcessLookupError:
                return False
            return True

        return self._each(numbers, send)

    def _is_that_one(self, target: ProcessIdentity, kin: Kinship | None) -> bool:
        stat = read_stat(target.pid)
        if stat is None or stat.started != target.started or stat.has_ended:
            return False
        if target.pid in self._protected():
            raise RefusedSignalError(f"pid {target.pid} ({stat.name}) is Corral itself or an ancestor of it")
        if stat.session == os.getsid(0):
            raise RefusedSignalError(f"pid {target.pid} ({stat.name}) is in Corral's own session")
        self._demand_proof(stat, kin)
        return True

    def _demand_proof(self, stat: Stat, kin: Kinship | None) -> None:
        if self._nonce is None or not self._says_its_mark(stat, kin, self._nonce):
            self._demand_evidence(stat, kin, "is not provably a process of this job")

    def _says_its_mark(self, stat: Stat, kin: Kinship | None, nonce: int) -> bool:
        """Whether the mark settles it; else it is not to be read, and kinship has to prove all."""
        try:
            found = mark.read(stat.pid)
        except PermissionError:
            return False
        if found is not None and found.nonce == nonce and (kin is None or found.job == kin.job):
            return True
        if kin is not None and ProcessIdentity(stat.pid, stat.started) in kin.leaders:
            return True
        if found is not None and found.nonce == nonce:
            if kin is not None and kin.knows(stat):
                return True
            raise RefusedSignalError(f"pid {stat.pid} ({stat.name}) is a process of another job")
        unmarked = "carries no mark of this home"
        if found is not None or mark.value_of(stat.pid) == mark.APART:
            raise RefusedSignalError(f"pid {stat.pid} ({stat.name}) {unmarked}")
        self._demand_evidence(stat, kin, unmarked)
        return True

    @staticmethod
    def _demand_evidence(stat: Stat, kin: Kinship | None, otherwise: str) -> None:
        if kin is None or kin.agreeing_evidence(stat) < ENOUGH_EVIDENCE:
            raise RefusedSignalError(f"pid {stat.pid} ({stat.name}) {otherwise}")

    def _protected(self) -> set[int]:
        """This process and its ancestors, up to init; read again when the parent is another one."""
        parent = os.getppid()
        if self._ancestry is None or self._ancestry[0] != parent:
            self._ancestry = (parent, self._ancestors(parent))
        return self._ancestry[1]

    @staticmethod
    def _ancestors(parent: int) -> set[int]:
        protected = {os.getpid()}
        pid = parent
        while pid > 0 and pid not in protected:
            protected.add(pid)
            stat = read_stat(pid) if pid > 1 else None
            pid = stat.ppid if stat else 0
        return protected


def end_own_child(identity: ProcessIdentity, descriptor: int | None) -> None:
    """KILL a child of this process that became no job's, or not yet: one that was started to go ahead of a stage.

    `descriptor` is its pidfd, opened while it was unreaped. Without one its start time is compared first.
    """
    if descriptor is not None:
        pidfd.send_signal(descriptor, KILL)
        return
    stat = read_stat(identity.pid)
    if stat is not None and (stat.started, stat.ppid) == (identity.started, os.getpid()):
        os.kill(identity.pid, KILL)


def end_daemon(pid: int, is_it: Callable[[], bool]) -> None:
    """TERM to another daemon, of which nothing but its lock tells. `is_it` is asked once the pidfd is there: what holds the
    lock then is what the pidfd is of."""
    descriptor = pidfd.open_pidfd(pid)
    if descriptor is None:
        return
    try:
        if is_it():
            pidfd.send_signal(descriptor, TERM)
    finally:
        os.close(descriptor)


def _checked(target: ProcessIdentity) -> int:
    pid = target.pid
    if isinstance(pid, bool) or not isinstance(pid, int) or pid <= 1:
        raise RefusedSignalError(f"pid {pid!r} is never signalled")
    return pid
