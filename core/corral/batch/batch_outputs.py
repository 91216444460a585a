"""What a client sees of a running batch: which inputs are done with, and what their jobs have printed."""

from __future__ import annotations

from typing import NamedTuple

from corral.batch.batch_files import CLAIMED, LETTER_OF, QUEUED, SKIPPED, BatchFiles, packed_streams
from corral.model.batch import not_running
from corral.model.home import Home

_PAGE = 4096
"""States compared at a time."""
_OVER = frozenset(b"".join((*LETTER_OF.values(), SKIPPED)))


class JobOutput(NamedTuple):
    """What one job of a batch has printed: stdout, then the stderr of each stage. Either it is here, or in files."""

    packed: tuple[bytes, ...] = ()
    paths: tuple[str, ...] = ()
    """As those of any job. They still grow, or disappear with the end of the job, where that `is_over`."""
    is_over: bool = False
    dropped: tuple[int, ...] = ()
    """Bytes that were dropped of each because of the cap."""


def output_of(files: BatchFiles, home: Home, batch: int, number: int, stages: int) -> JobOutput:
    """What the job of that input has printed so far; nothing where it has not started."""
    state = files.state(number)
    job = str(not_running(batch, number))
    if state == CLAIMED:
        return JobOutput(paths=tuple(home.outputs(job, stages)))
    is_over = state[0] in _OVER
    entry, content = files.entry(files.record(number))
    if entry.is_packed:
        return JobOutput(tuple(packed_streams(entry, content)), is_over=is_over)
    paths = tuple(home.outputs(job, stages)) if any(entry.sizes) else ()
    return JobOutput(paths=paths, is_over=is_over, dropped=entry.dropped)


class StateWatch:
    """Which inputs of a batch are done with, and how many are in each state. Cheap to ask often, of a million inputs too."""

    def __init__(self, files: BatchFiles) -> None:
        self._files = files
        self._seen: dict[int, bytes] = {}
        """By the number of the page; only those that may still change."""
        self._first_page = 0
        """All before it are over."""
        self._counts = [0] * 256

    def look(self) -> list[int]:
        """The inputs that are done with since the last look, by rising number."""
        found: list[int] = []
        page = self._first_page
        while data := self._files.states(page * _PAGE, _PAGE):
            before = self._seen.get(page, b"")
            if data != before:
                found += self._changed(page, before.ljust(len(data), QUEUED), data)
                self._seen[page] = data
            page += 1
        self._forget_what_is_over()
        return found

    def _changed(self, page: int, before: bytes, data: bytes) -> list[int]:
        found = []
        for number, (old, new) in enumerate(zip(before, data, strict=True), page * _PAGE + 1):
            if old != new:
                self._counts[old] -= 1
                self._counts[new] += 1
                if new in _OVER and old not in _OVER:
                    found.append(number)
        return found

    def _forget_what_is_over(self) -> None:
        while len(data := self._seen.get(self._first_page, b"")) == _PAGE and _OVER.issuperset(data):
            del self._seen[self._first_page]
            self._first_page += 1

    def is_over(self, number: int) -> bool:
        """Whether that input is done with, as of the last look."""
        page, place = divmod(number - 1, _PAGE)
        return page < self._first_page or self._seen.get(page, b"")[place : place + 1] in _OVER_LETTERS

    def is_running(self, number: int) -> bool:
        page, place = divmod(number - 1, _PAGE)
        return self._seen.get(page, b"")[place : place + 1] == CLAIMED

    def running(self) -> list[int]:
        """The inputs whose jobs run, as of the last look."""
        return [
            page * _PAGE + place
            for page, data in self._seen.items()
            if CLAIMED in data
            for place, letter in enumerate(data, 1)
            if letter == CLAIMED[0]
        ]

    def count(self, *states: bytes) -> int:
        """How many are in one of these states."""
        return sum(self._counts[state[0]] for state in states)


_OVER_LETTERS = frozenset(bytes((letter,)) for letter in _OVER)
