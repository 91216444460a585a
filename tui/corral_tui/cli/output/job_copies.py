"""In which order the outputs of a batch are copied: each job's as a whole once it has ended, or each line as it is written."""

from __future__ import annotations

from collections import deque

from corral.batch.batch_outputs import StateWatch
from corral_tui.cli.output.copy_output import Copier
from corral_tui.cli.output.job_streams import JobStreams, StreamCopy, end_copies

MOST_FOLLOWED = 100
"""Jobs whose lines are copied while they run; each takes some descriptors. Those of others are copied at their end."""
_AT_A_TIME = 500
"""Jobs, before it is looked whether anything else is to be done."""


class WholeJobs:
    """Each job's output whole, those of one after those of the other.

    Args:
        in_order: of the inputs, not of the ends.
    """

    def __init__(self, streams: JobStreams, watch: StateWatch, *, in_order: bool) -> None:
        self._streams = streams
        self._watch = watch
        self._in_order = in_order
        self._ended: deque[int] = deque()
        self._next = 1
        """In order: whose turn it is."""
        self._total: int | None = None
        """Of all inputs, once the batch has ended."""
        self._copies: deque[tuple[StreamCopy, bytes | None]] = deque()
        """Of the jobs whose turn it is: those that have still to begin, with what is packed."""
        self.copier = Copier([], (streams.out, streams.err))

    def look(self, ended: list[int]) -> None:
        """These have ended since."""
        if not self._in_order:
            self._ended.extend(ended)

    def finish(self, total: int) -> None:
        """The batch has ended, with so many inputs."""
        self._total = total

    def step(self) -> bool:
        """Read and write what is possible now. Returns whether anything moved. Raises BrokenPipeError."""
        moved = self.copier.step()
        self.copier.forget_read()
        for _ in range(_AT_A_TIME):
            if not self._may_begin or not (self._copies or self._take_turn()):
                break
            if self._copies and not self._begin_copy():
                break
            moved = True
        return moved

    @property
    def _may_begin(self) -> bool:
        """Whether the next stream may come between what is being copied."""
        return not self.copier.has_streams

    def _take_turn(self) -> bool:
        """Prepare the next job. Whether there was one."""
        number = self._next_number()
        if number is None:
            return False
        output = self._streams.output(number)
        copies = self._streams.copies(number, output)
        packed = output.packed or (None,) * len(copies)
        self._copies.extend(zip(copies, packed, strict=True))
        return True

    def _next_number(self) -> int | None:
        if not self._in_order:
            return self._ended.popleft() if self._ended else None
        number = self._next
        is_there = self._total is None or number <= self._total
        if not (is_there and (self._watch.is_over(number) or self._total is not None)):
            return None
        self._next += 1
        return number

    def _begin_copy(self) -> bool:
        """Whether there was room. What goes to one outlet is written before the other's turn: both may be one terminal."""
        copy, packed = self._copies[0]
        other = self._streams.err if copy.outlet is self._streams.out else self._streams.out
        if copy.outlet.is_full or other.has_queue:
            return False
        self._copies.popleft()
        copy.end(packed)
        self.copier.add(copy)
        self.copier.forget_read()
        return True

    @property
    def is_done(self) -> bool:
        """Whether all has been copied."""
        if self._total is None or self._copies or self._ended:
            return False
        return self.copier.is_done and (not self._in_order or self._next > self._total)

    def close(self) -> None:
        self.copier.close()


class LinesOfJobs(WholeJobs):
    """Each line as it is written; in order only those of one job until it has ended.

    Args:
        last_attempt: jobs in earlier ones are not followed, since only the last one counts.
    """

    def __init__(self, streams: JobStreams, watch: StateWatch, *, in_order: bool, last_attempt: int) -> None:
        super().__init__(streams, watch, in_order=in_order)
        self._last_attempt = last_attempt
        self._followed: dict[int, list[StreamCopy]] = {}

    def look(self, ended: list[int]) -> None:
        super().look([number for number in ended if number not in self._followed])
        for number in ended:
            self._end(number)
        if not self._in_order:
            for number in self._watch.running():
                self._follow(number)

    def finish(self, total: int) -> None:
        super().finish(total)
        for number in list(self._followed):
            self._end(number)

    def _end(self, number: int) -> None:
        if number in self._followed:
            end_copies(self._followed.pop(number), self._streams.output(number))

    def _follow(self, number: int) -> bool:
        """Copy from now on what that job writes. Whether it is followed."""
        if number in self._followed:
            return True
        if len(self._followed) >= MOST_FOLLOWED or self._streams.attempt(number) < self._last_attempt:
            return False
        output = self._streams.output(number)
        if output.is_over:
            return False
        self._followed[number] = self._streams.copies(number, output)
        for copy in self._followed[number]:
            self.copier.add(copy)
        return True

    @property
    def _may_begin(self) -> bool:
        return not (self._in_order and self.copier.has_streams)

    def _take_turn(self) -> bool:
        if self._in_order and self._watch.is_running(self._next) and self._follow(self._next):
            self._next += 1
            return False
        return super()._take_turn()

    @property
    def is_done(self) -> bool:
        return super().is_done and not self._followed
