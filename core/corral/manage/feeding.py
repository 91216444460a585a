"""`--from`: the stdout file of one job into the stdin pipe of another, with sendfile(2); no byte enters Python."""

from __future__ import annotations

import asyncio
import errno
import os
from typing import TYPE_CHECKING

from corral.decide.life import FeedFailed
from corral.manage.jobs import ManagedJob
from corral.manage.moments import moment
from corral.system.descriptors import keep

if TYPE_CHECKING:
    from corral.manage.manager import Manager

_CHUNK = 1 << 20
_LIVE_PAUSE = 0.02


class Feeder:
    """Feeds one job. Owns the write end of its stdin and the source's file.

    Woken by room in the pipe, and at the end of a live file every 20 ms.
    """

    def __init__(self, manager: Manager, job: ManagedJob, source: int, writer: int) -> None:
        self._manager = manager
        self._job = job
        self._source = source
        self._writer = writer
        os.set_blocking(writer, False)
        self._reader: int | None = None
        self._offset = 0
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._is_waiting_for_room = False
        self._pump()

    def close(self) -> None:
        """EOF for the job, unless it has had it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._is_waiting_for_room:
            self._loop.remove_writer(self._writer)
            self._is_waiting_for_room = False
        if self._writer >= 0:
            os.close(self._writer)
            self._writer = -1
        if self._reader is not None:
            os.close(self._reader)
            self._reader = None

    def _pump(self) -> None:
        """Send what there is, at most a chunk a pass of the loop."""
        self._timer = None
        if self._writer < 0:
            return
        # Asked before the read: what was written before its end is then read for certain.
        has_ended = self._source_has_ended()
        if not self._open():
            self._wait_or_end(has_ended)
            return
        try:
            sent = self._send()
        except BlockingIOError:
            self._wait_for_room()
            return
        except BrokenPipeError:
            # It reads no more, which is its right (`head`).
            self.close()
            return
        except OSError as error:
            self._fail(f"job {self._source} could not be read any further: {error.strerror}")
            return
        if sent:
            self._offset += sent
            self._wait_for_room()
        else:
            self._wait_or_end(has_ended)

    def _send(self) -> int:
        """One sendfile. Bytes that were dropped before they could be fed make the feed fail."""
        assert self._reader is not None
        if self._is_in_a_hole():
            self._fail(f"bytes of job {self._source} were dropped before they could be fed")
            return 0
        return os.sendfile(self._writer, self._reader, self._offset, _CHUNK)

    def _is_in_a_hole(self) -> bool:
        assert self._reader is not None
        try:
            return os.lseek(self._reader, self._offset, os.SEEK_DATA) > self._offset
        except OSError as error:
            if error.errno == errno.ENXIO:
                return False  # at the end of the file
            raise

    def _open(self) -> bool:
        if self._reader is None:
            try:
                descriptor = os.open(self._manager.home.stdout(self._source), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return False
            self._reader = keep(descriptor)
            self._offset = self._first_kept()
        return True

    def _first_kept(self) -> int:
        assert self._reader is not None
        try:
            return os.lseek(self._reader, 0, os.SEEK_DATA)
        except OSError:
            return 0

    def _source_has_ended(self) -> bool:
        job = self._manager.jobs.get(self._source)
        return job is None or job.life.is_ended

    def _wait_for_room(self) -> None:
        if not self._is_waiting_for_room and self._writer >= 0:
            self._is_waiting_for_room = True
            self._loop.add_writer(self._writer, self._note_room)

    def _note_room(self) -> None:
        self._loop.remove_writer(self._writer)
        self._is_waiting_for_room = False
        self._pump()

    def _wait_or_end(self, has_ended: bool) -> None:
        if has_ended:
            self.close()
        elif self._writer >= 0:
            self._timer = self._loop.call_later(_LIVE_PAUSE, self._pump)

    def _fail(self, reason: str) -> None:
        self.close()
        self._manager.apply(self._job, FeedFailed(**moment(), reason=reason))
