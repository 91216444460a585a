"""The user's settings file, `corral/config.toml`, as what it says: each reader takes the keys and tables that are its own."""

from __future__ import annotations

import os
import stat
from typing import Any

from corral.model.errors import CorralError


def read_settings_file(path: str) -> dict[str, Any]:
    """Its content; nothing if there is no such file. Raises CorralError, whose text says why it cannot be read."""
    try:
        # Without O_NONBLOCK opening a FIFO would block (fifo(7)); for a file it has no effect.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise CorralError("it is no file")
            return parse_settings(file.read())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise CorralError(error.strerror or str(error)) from None


def parse_settings(raw: bytes) -> dict[str, Any]:
    """What the content of the file says. Raises CorralError."""
    if not raw.strip():
        return {}
    # Imported only if there is a file: most users have none.
    import tomllib

    try:
        return tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CorralError(str(error)) from None
