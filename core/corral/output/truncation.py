"""Detects that a growing file was made shorter by a writer: its size went back, or other bytes stand where some were seen.

The size alone does not: a program that opens its own stdout again with O_TRUNC (`> /dev/stdout`) may have written more since than
stood there before. Nothing of the kernel's tells either: a truncation is IN_MODIFY to inotify(7) and a new mtime to
stat(2), as a write is. So a reader of a file remembers short pieces of it, its first and its last bytes above all. A writer that
puts the same bytes in the same places again is not found out; then nothing that was seen is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from msgspec import Struct

PIECE_SIZE = 64

ReadAt = Callable[[int, int], bytes]
"""(offset, count): bytes of the file; fewer where it ends, or where reading would have to wait."""


class Piece(NamedTuple):
    """Bytes that stood at `offset`."""

    offset: int
    data: bytes

    @property
    def end(self) -> int:
        return self.offset + len(self.data)


class Truncation(NamedTuple):
    """Up to offset `least` the file still is what it was, beyond `most` it is not.

    A reader goes on at `least`: better something twice than something new not at all.
    """

    least: int
    most: int


class Fingerprint(Struct):
    """What is remembered of a file as it was up to offset `end`: a piece whenever it grew by an eighth, and the last."""

    end: int = 0
    pieces: list[Piece] = []

    def look(self, read: ReadAt, size: int, first_kept: int = 0) -> Truncation | None:
        """Whether the file, which has `size` bytes now, was made shorter since. Before `first_kept` nothing is compared."""
        if size >= self.end and self._seems_whole(read, first_kept):
            return None
        least = min(first_kept, size)
        for piece in self.pieces:
            wanted = piece.data[: max(0, size - piece.offset)]
            if piece.offset < first_kept or not wanted:
                continue
            same = _length_in_common(wanted, read(piece.offset, len(wanted)))
            if same is None:
                continue
            if same < len(wanted):
                return Truncation(least, piece.offset + same)
            least = piece.offset + len(wanted)
        if size >= self.end:
            return None
        return Truncation(least, size)

    def _seems_whole(self, read: ReadAt, first_kept: int) -> bool:
        """Whether the first and the last piece stand where they stood."""
        for piece in (*self.pieces[:1], *self.pieces[1:][-1:]):
            if piece.offset >= first_kept:
                same = _length_in_common(piece.data, read(piece.offset, len(piece.data)))
                if same is not None and same < len(piece.data):
                    return False
        return True

    def advance(self, read: ReadAt, end: int, first_kept: int = 0) -> None:
        """Remember the file as it is now, up to `end`. What cannot be read without waiting is left for another time."""
        start = max(first_kept, end - PIECE_SIZE, 0)
        if end <= self.end or start >= end:
            return
        data = read(start, end - start)
        if len(data) < end - start:
            return
        if self.pieces:
            last, before = self.pieces[-1], self.pieces[-2].end if len(self.pieces) > 1 else 0
            if last.end - before < step_from(before) and len(self.pieces) > 1:
                self.pieces.pop()
        elif start > first_kept == 0:
            self.pieces.append(Piece(0, read(0, min(PIECE_SIZE, start))))
        self.pieces.append(Piece(start, data))
        self.end = end

    def forget(self, truncation: Truncation) -> None:
        """Nothing is known any more of what stands beyond where the file was made shorter, at the least."""
        self.pieces = [piece for piece in self.pieces if piece.end <= truncation.least]
        self.end = self.pieces[-1].end if self.pieces else 0


def step_from(end: int) -> int:
    """How much a file of that length grows until another piece of it is kept."""
    return max(PIECE_SIZE, end // 8)


def _length_in_common(one: bytes, other: bytes) -> int | None:
    """How many bytes both begin with; None where the other was not to be had."""
    if one == other:
        return len(one)
    if not other:
        return None
    for place, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return place
    return None if len(other) < len(one) else len(one)
