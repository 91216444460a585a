"""To be woken when a file is opened, removed or replaced: inotify(7). Watches cost who writes nothing that can be measured.

Where the system has none (macOS), or the user has as many as allowed (fs.inotify.max_user_*), nobody is woken.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from typing import NamedTuple

OPENED = 0x20
WRITTEN = 0x02
LEFT = 0x04 | 0x800
"""IN_ATTRIB, which comes with each name that a file loses (and with chmod(2)), and IN_MOVE_SELF."""
ONCE = 0x80000000
"""IN_OPEN, IN_MODIFY (a truncation, too) and IN_ONESHOT of uapi/linux/inotify.h."""
_DONT_FOLLOW = 0x02000000
_EVENT = struct.Struct("iIII")
_READ_SIZE = 64 << 10


class Change(NamedTuple):
    """What happened to a watched file: what was asked for, or, for example, the end of the watch."""

    watch: int
    mask: int


class Watcher:
    """The watches of one process. `descriptor` is readable once something happened; None where there are no watches."""

    def __init__(self) -> None:
        self.descriptor: int | None = None
        if not sys.platform.startswith("linux"):
            return
        self._library = ctypes.CDLL(None, use_errno=True)
        self._library.inotify_add_watch.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
        descriptor = self._library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self.descriptor = None if descriptor < 0 else int(descriptor)

    def watch(self, path: str, mask: int) -> int | None:
        """Watch a file. The number of the watch, the same for the same file; None where it cannot be."""
        if self.descriptor is None:
            return None
        number = self._library.inotify_add_watch(self.descriptor, os.fsencode(path), mask | _DONT_FOLLOW)
        return None if number < 0 else int(number)

    def forget(self, watch: int) -> None:
        """End a watch; it may have ended with its file."""
        if self.descriptor is not None:
            self._library.inotify_rm_watch(self.descriptor, watch)

    def changes(self) -> list[Change]:
        """What happened since, as far as one read goes. Alike events in a row are one (inotify(7))."""
        if self.descriptor is None:
            return []
        try:
            raw = os.read(self.descriptor, _READ_SIZE)
        except BlockingIOError:
            return []
        found, place = [], 0
        while place < len(raw):
            watch, mask, _, length = _EVENT.unpack_from(raw, place)
            found.append(Change(watch, mask))
            place += _EVENT.size + length
        return found
