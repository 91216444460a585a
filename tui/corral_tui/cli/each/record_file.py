"""Lines, or what NUL separates, of a file or stdin, as they come."""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Iterator

from corral.model.errors import UsageError
from corral.model.wire import typed_to_wire

READ_BYTES = 1 << 16
LONGEST_RECORD = 8 << 20
"""Bytes: more than any command may have, but not endless like /dev/zero."""


class RecordFile:
    """The records of one file. To iterate over it never waits: where there is no more yet it gives the descriptor to wait for.

    Args:
        path: `-` is stdin.

    Raises:
        UsageError: it cannot be read, or is a terminal.
    """

    def __init__(self, path: str, separator: bytes = b"\n") -> None:
        self._separator = separator
        self._name = "stdin" if path == "-" else path
        try:
            # A FIFO that nobody writes to yet must not hold us up (fifo(7)); poll(2) tells when somebody does.
            self._descriptor = 0 if path == "-" else os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            mode = os.fstat(self._descriptor).st_mode
        except OSError as error:
            raise UsageError(f"--arg-file {path}: {error.strerror}; name a file that can be read") from None
        if stat.S_ISDIR(mode):
            raise UsageError(f"{self._name} is a directory; name a file with an input on each line")
        if os.isatty(self._descriptor):
            raise UsageError(
                f"{self._name} is a terminal: write the inputs behind the command, after :::, "
                "or send them by a pipe, one on each line"
            )
        self._always_ready = stat.S_ISREG(mode)

    def __iter__(self) -> Iterator[str | int]:
        held = b""
        while True:
            if not self._is_ready():
                yield self._descriptor
                continue
            data = self._read()
            if not data:
                break
            *whole, held = (held + data).split(self._separator)
            yield from map(self._decoded, whole)
            if len(held) > LONGEST_RECORD:
                raise UsageError(f"{self._name}: an input is longer than any command may be")
        if held:
            yield self._decoded(held)

    def _is_ready(self) -> bool:
        if self._always_ready:
            return True
        poller = select.poll()
        poller.register(self._descriptor, select.POLLIN)
        return bool(poller.poll(0))

    def _read(self) -> bytes:
        try:
            return os.read(self._descriptor, READ_BYTES)
        except OSError as error:
            raise UsageError(f"{self._name}: {error.strerror}; the inputs after that are missing") from None

    def _decoded(self, record: bytes) -> str:
        if b"\0" in record:
            raise UsageError(
                f"{self._name}: an input holds a NUL, which no argument can; --null reads what NUL separates"
            )
        return typed_to_wire(record.decode("utf-8", "surrogateescape"))
