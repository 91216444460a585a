"""The files of a batch, below `jobs/ID`: its inputs, what became of each of them, and what its jobs have printed.

Each is written with write(2) as things happen, without fsync: what is written survives a SIGKILL of the daemon. A job that
was never started takes no more than its input; one that ended well and printed nothing is a state and a record.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple

import msgspec
from msgspec import Struct

from corral.model.batch import Attempt, BatchInput
from corral.model.home import Home
from corral.model.job import State
from corral.model.wire import from_wire, to_wire
from corral.output.job_files import open_own

QUEUED, CLAIMED, RETRYING, SKIPPED = b"\0", b"s", b"r", b"k"
"""States of an input that are not the end of its job. `CLAIMED`: it is being started, or runs."""
STATE_OF: dict[bytes, State] = {
    b"+": "succeeded",
    b"f": "failed",
    b"t": "timed_out",
    b"x": "stopped",
    b"l": "lost",
}
LETTER_OF: dict[str, bytes] = {state: letter for letter, state in STATE_OF.items()}
FAILED_LETTERS = b"ftl"
_RECORD = struct.Struct("<QIIddHHhBxHxxfQQI")
"""In the order of `InputRecord`."""
_PAGE = 1 << 16
"""States read at a time."""
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC


class InputRecord(NamedTuple):
    """What became of one input. Times in seconds since the epoch; 0 where there is none."""

    input_at: int = 0
    """Where its input begins in the file of inputs, and how long it is."""
    input_bytes: int = 0
    run: int = 0
    """The number of its last attempt's run."""
    started: float = 0.0
    ended: float = 0.0
    slot: int = 0
    attempt: int = 0
    exit_status: int = -1
    signal: int = 0
    cause: int = 0
    """Which of the batch's causes of failure, from 1 on."""
    cpu_seconds: float = 0.0
    peak_memory: int = 0
    entry_at: int = 0
    """Where its entry in the file of results begins, and how long it is; 0 bytes where it has none."""
    entry_bytes: int = 0


_NO_RECORD = InputRecord()


class Entry(Struct, frozen=True, kw_only=True):
    """What is kept of a job that has printed something or did not succeed. Its output follows it, where it is small."""

    reason: str | None = None
    stages: tuple[tuple[int | None, str | None], ...] = ()
    """Exit status and signal of each, where there are several."""
    sizes: tuple[int, ...] = ()
    """Of stdout and of each stage's stderr, in bytes."""
    is_packed: bool = False
    """Whether that output follows; else it is in a folder of the job's own."""
    dropped: tuple[int, ...] = ()
    """Bytes that were dropped of each."""
    attempts: tuple[Attempt, ...] = ()
    """Those before the last."""


_NO_ENTRY = Entry()
_encode_entry = msgspec.json.Encoder().encode
_decode_entry = msgspec.json.Decoder(Entry).decode


class BatchFiles:
    """The files of one batch. Numbers of inputs count from 1.

    Args:
        is_writer: of the daemon, which makes them where they are missing.
    """

    def __init__(self, home: Home, batch: int, *, is_writer: bool = False) -> None:
        self.folder = home.job(batch)
        if is_writer:
            with suppress(FileExistsError):
                os.mkdir(self.folder, 0o700)
        flags = _FLAGS if is_writer else os.O_RDONLY | os.O_CLOEXEC
        self._open: list[int] = []
        try:
            self._inputs, self._records, self._states, self._results, self._causes = (
                self._opened(name, flags) for name in ("inputs", "records", "states", "results", "causes")
            )
        except BaseException:
            self.close()
            raise
        self._inputs_end = os.fstat(self._inputs).st_size
        self._results_end = os.fstat(self._results).st_size

    def _opened(self, name: str, flags: int) -> int:
        self._open.append(open_own(f"{self.folder}/{name}", flags))
        return self._open[-1]

    def close(self) -> None:
        while self._open:
            os.close(self._open.pop())

    # ---- inputs

    @property
    def total(self) -> int:
        """How many inputs have come."""
        return os.fstat(self._records).st_size // _RECORD.size

    def add_inputs(self, inputs: Iterable[BatchInput], before: int) -> int:
        """Append inputs to `before` others; how many there are then."""
        texts, records = bytearray(), bytearray()
        for text, columns in inputs:
            parts = (text,) if columns == (text,) else (text, *columns)
            encoded = b"\0".join(os.fsencode(from_wire(part)) for part in parts)
            records += _RECORD.pack(
                *_NO_RECORD._replace(input_at=self._inputs_end + len(texts), input_bytes=len(encoded))
            )
            texts += encoded
        _write_all(self._inputs, texts, self._inputs_end)
        _write_all(self._records, records, before * _RECORD.size)
        # There is room then for what becomes of them, however full the disk is.
        _write_all(self._states, QUEUED * (len(records) // _RECORD.size), before)
        self._inputs_end += len(texts)
        return before + len(records) // _RECORD.size

    def input(self, number: int, record: InputRecord | None = None) -> BatchInput:
        record = record or self.record(number)
        parts = os.pread(self._inputs, record.input_bytes, record.input_at).split(b"\0")
        texts = tuple(to_wire(os.fsdecode(part)) for part in parts)
        return BatchInput(texts[0], texts[1:] or texts)

    # ---- what became of them

    def record(self, number: int) -> InputRecord:
        """Raises IndexError where there is no such input."""
        raw = os.pread(self._records, _RECORD.size, (number - 1) * _RECORD.size) if number > 0 else b""
        if len(raw) < _RECORD.size:
            raise IndexError(number)
        return InputRecord._make(_RECORD.unpack(raw))

    def records(self) -> Iterator[InputRecord]:
        """All of them."""
        at = 0
        while page := os.pread(self._records, _RECORD.size * 1024, at):
            whole = len(page) - len(page) % _RECORD.size
            yield from map(InputRecord._make, _RECORD.iter_unpack(page[:whole]))
            at += len(page)

    def write(self, number: int, record: InputRecord, state: bytes) -> None:
        """The state last: what it says holds then."""
        os.pwrite(self._records, _RECORD.pack(*record), (number - 1) * _RECORD.size)
        self.set_state(number, state)

    def set_state(self, number: int, state: bytes) -> None:
        os.pwrite(self._states, state, number - 1)

    def state(self, number: int) -> bytes:
        return os.pread(self._states, 1, number - 1) or QUEUED

    def states(self, after: int, most: int) -> bytes:
        """The states of so many inputs behind that number; fewer where the last ones were never touched."""
        return os.pread(self._states, most, after)

    def counts(self) -> dict[bytes, int]:
        """How many inputs are in each state."""
        found: dict[bytes, int] = {}
        for page in self._pages(0):
            for letter in set(page):
                state = bytes((letter,))
                found[state] = found.get(state, 0) + page.count(letter)
        return found

    def numbers_in(self, states: bytes, after: int = 0) -> Iterator[int]:
        """The inputs in any of these states, by rising number."""
        at = after
        for page in self._pages(after):
            yield from (at + index for index, letter in enumerate(page, 1) if letter in states)
            at += len(page)

    def _pages(self, at: int) -> Iterator[bytes]:
        while page := os.pread(self._states, _PAGE, at):
            yield page
            at += len(page)

    def number_of_run(self, run: int) -> int | None:
        """The input whose last attempt was that run. Reads all records."""
        wanted, size, at = run.to_bytes(4, "little"), _RECORD.size, 0
        while page := os.pread(self._records, size * 1024, at):
            offset = page.find(wanted)
            while offset >= 0:
                if offset % size == 12:
                    return (at + offset) // size + 1
                offset = page.find(wanted, offset + 1)
            at += len(page)
        return None

    # ---- results

    def add_entry(self, entry: Entry, output: bytes = b"") -> tuple[int, int]:
        """Where it is, and how long it is."""
        content = _encode_entry(entry) + b"\n" + output
        at = self._results_end
        _write_all(self._results, content, at)
        self._results_end += len(content)
        return at, len(content)

    def entry(self, record: InputRecord) -> tuple[Entry, bytes]:
        """The entry of a job, and its output where that is packed."""
        if not record.entry_bytes:
            return _NO_ENTRY, b""
        head, _, output = os.pread(self._results, record.entry_bytes, record.entry_at).partition(b"\n")
        return _decode_entry(head), output

    def add_cause(self, cause: str) -> None:
        """Another cause of failure; records name it by its number, from 1 on."""
        at = os.fstat(self._causes).st_size
        _write_all(self._causes, os.fsencode(from_wire(cause)).replace(b"\n", b" ") + b"\n", at)

    def causes(self) -> list[str]:
        content = os.pread(self._causes, os.fstat(self._causes).st_size, 0)
        return [to_wire(os.fsdecode(line)) for line in content.split(b"\n")[:-1]]


def _write_all(descriptor: int, content: bytes | bytearray, at: int) -> None:
    view = memoryview(content)
    while view:
        done = os.pwrite(descriptor, view, at)
        view, at = view[done:], at + done


def packed_streams(entry: Entry, output: bytes) -> list[bytes]:
    """stdout, then the stderr of each stage."""
    found, at = [], 0
    for size in entry.sizes:
        found.append(output[at : at + size])
        at += size
    return found
