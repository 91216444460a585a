"""Writes that the journal could not take yet, saved beside it so that they survive the end of the daemon.

While another program locks the journal, or the disk is full, jobs still end and are stopped. These writes go to two files
in turn: a daemon that is killed while writing one leaves the other intact. The files have their size reserved in advance
and are overwritten in place, which works on a full disk (except on copy-on-write file systems such as btrfs). The number
of the last write is stored in the journal along with it, so that nothing is replayed twice.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from corral.journal.write_buffer import EndedRow, Pending
from corral.model.errors import CorralError
from corral.platform.files.disk_usage import free_bytes

NUMBER = "unwritten"
"""The key of the number in the journal."""
RESERVED_BYTES = 128 << 10
"""Bytes of each file: packed, the ends of a thousand jobs."""
_PLENTY = 8 * RESERVED_BYTES
_HEAD = struct.Struct(">8sQII")
_MAGIC = b"corral 1"
_LESS_NEEDED = ("usages", "stories", "events")
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_UNREADABLE = (msgspec.DecodeError, zlib.error, TypeError, ValueError)


def _paths(path: str) -> tuple[str, str]:
    return f"{path}.unwritten.1", f"{path}.unwritten.2"


def release_reserve(path: str) -> bool:
    """Free the space of the file that was not written last, since on a full disk SQLite cannot even open the journal
    without any. Whether there was any to free."""
    numbers = {each: _number(each) for each in _paths(path)}
    spare = min(numbers, key=lambda each: numbers[each])
    try:
        size = os.path.getsize(spare)
        os.truncate(spare, 0)
    except OSError:
        return False
    return size > 0


def _number(path: str) -> int:
    kept = _read(path)
    return 0 if kept is None else kept.number


class SpilledWrites(NamedTuple):
    """The content of one file, and its number: the higher number is the newer."""

    number: int
    pending: Pending


class SpillFiles:
    """The two files of a journal. `path` is the journal's."""

    def __init__(self, path: str) -> None:
        self._paths = _paths(path)
        self._number = 0
        self._is_used = False
        self._last: bytes | None = None

    def reserve(self) -> None:
        """Reserve the space. Without it only writes made while the disk is full can be lost."""
        for path in self._paths:
            with suppress(OSError):
                _reserve(path)

    def read(self, noted: str | None) -> Pending:
        """What was written last, unless the journal has it: `noted` is the number stored there.

        Raises:
            CorralError: the files cannot be used.
        """
        try:
            found = [kept for path in self._paths if (kept := _read(path)) is not None]
        except OSError as error:
            raise CorralError(f"cannot use {error.filename}: {error.strerror}") from None
        known = int(noted) if noted is not None and noted.isdecimal() else 0
        newest = max(found, key=lambda kept: kept.number, default=SpilledWrites(0, Pending()))
        self._number = max(known, newest.number)
        self._is_used = bool(found)
        if newest.number <= known:
            return Pending()
        newest.pending.meta[NUMBER] = str(newest.number)
        return newest.pending

    def write(self, pending: Pending) -> bool:
        """Save it, and add its number to what the journal is to store; whether there was space."""
        raw = _packed(pending)
        if self._is_used and raw == self._last:
            return True
        self._number += 1
        path = self._paths[self._number % 2]
        for content in (raw, _packed(pending, _LESS_NEEDED)):
            with suppress(OSError):
                _write(path, self._number, content)
                self._is_used, self._last = True, raw
                pending.meta[NUMBER] = str(self._number)
                return True
        return False

    def clear(self) -> None:
        """The journal has it all now. Overwrite the files: command lines may contain secrets."""
        if not self._is_used:
            return
        for path in self._paths:
            with suppress(OSError):
                size = os.path.getsize(path)
                _overwrite(path, b"\0" * size)
                os.truncate(path, min(size, RESERVED_BYTES))
        self._is_used, self._last = False, None


def _reserve(path: str) -> None:
    with open(os.open(path, _FLAGS, 0o600), "r+b", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        # Not on a nearly full disk.
        if size < RESERVED_BYTES and (free_bytes(path) or 0) > _PLENTY:
            file.seek(size)
            file.write(b"\0" * (RESERVED_BYTES - size))


def _read(path: str) -> SpilledWrites | None:
    """None if it is empty or incomplete. Raises OSError."""
    try:
        with open(os.open(path, _FLAGS & ~os.O_CREAT), "rb") as file:
            content = file.read()
    except FileNotFoundError:
        return None
    if len(content) < _HEAD.size:
        return None
    magic, number, size, check = _HEAD.unpack_from(content)
    packed = content[_HEAD.size : _HEAD.size + size]
    if magic != _MAGIC or not size or zlib.crc32(packed) != check:
        return None
    with suppress(*_UNREADABLE):
        return SpilledWrites(number, _unpacked(packed))
    return None


def _write(path: str, number: int, content: bytes) -> None:
    _overwrite(path, _HEAD.pack(_MAGIC, number, len(content), zlib.crc32(content)) + content)


def _overwrite(path: str, content: bytes) -> None:
    """Raises OSError if not all of it could be written."""
    descriptor = os.open(path, _FLAGS, 0o600)
    with open(descriptor, "r+b", buffering=0) as file:
        while content:
            content = content[file.write(content) :]


def _packed(pending: Pending, without: tuple[str, ...] = ()) -> bytes:
    found = {name: list(rows) for name, rows in _rows(pending) if name not in without}
    return zlib.compress(msgspec.msgpack.encode(found), 1)


def _rows(pending: Pending) -> Iterator[tuple[str, Any]]:
    """Field names with their rows, dicts as pairs. Without jobs that are accepted only once they are written."""
    for name in Pending.__struct_fields__:
        value = getattr(pending, name)
        if name in ("environments", "surroundings"):
            continue
        if name == "jobs":
            value = {job: row for job, row in value.items() if job in pending.ended}
        if name == "meta":
            value = {key: text for key, text in value.items() if key != NUMBER}
        yield name, value.items() if isinstance(value, dict) else value


def _unpacked(content: bytes) -> Pending:
    found = msgspec.msgpack.decode(zlib.decompress(content), type=dict[str, list[Any]])
    pending = Pending()
    for name in Pending.__struct_fields__:
        rows, kind = found.get(name, []), type(getattr(pending, name))
        if kind is dict:
            rows = [(tuple(key) if isinstance(key, list) else key, value) for key, value in rows]
        setattr(pending, name, kind(rows))
    pending.ended = {job: EndedRow(*row) for job, row in pending.ended.items()}
    return pending
