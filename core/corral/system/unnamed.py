"""A file without a name: in memory where the system has that (memfd_create(2)), else a deleted one on the disk."""

from __future__ import annotations

import os
from typing import IO


def unnamed_file(title: str) -> IO[bytes]:
    """Empty, to write and read. Gone with the last descriptor of it. Raises OSError."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create(title, os.MFD_CLOEXEC), "w+b")
    import tempfile

    return tempfile.TemporaryFile()
