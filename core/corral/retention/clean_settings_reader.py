"""Reading the user's settings for cleaning, also where their file system hangs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec import Struct

from corral.model.home import config_path
from corral.platform.files.hanging_mounts import HangingMounts
from corral.platform.files.path_destination import HANGS, destination
from corral.platform.process.helper_process import run_helper
from corral.retention.clean_settings import CleanSettings, read_clean_settings, unreadable_settings

_PRINTING = ("/bin/sh", "-c", '! test -e "$1" || exec cat "$1"', "sh")
PATIENCE = 10.0
"""Seconds for the settings on a file system that may hang."""
LONGEST_SETTINGS = 1 << 20


class CleanSettingsReader(Struct, eq=False):
    """Reads the settings as they are now. `reap`: reaps every child that has ended."""

    _mounts: HangingMounts
    reap: Callable[[], None]

    async def read(self) -> CleanSettings:
        """A thread that waits for a dead file server could not be ended, nor the daemon before it: a process can."""
        path = config_path()
        if destination(path, self._mounts.may_hang).kind != HANGS:
            return await asyncio.to_thread(read_clean_settings, path)
        try:
            printed = await run_helper((*_PRINTING, path), PATIENCE, LONGEST_SETTINGS, self.reap)
        except OSError as error:
            return unreadable_settings(path, error.strerror or str(error))
        if not printed.is_whole:
            return unreadable_settings(path, "its file system does not answer")
        error_line = printed.err.decode(errors="replace").strip()
        return unreadable_settings(path, error_line) if error_line else read_clean_settings(path, printed.out)
