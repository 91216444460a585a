"""One batch until its end: its inputs are sent, its output is copied, and a line says how far it is."""

from __future__ import annotations

import time

from corral.batch.batch_files import CLAIMED, FAILED_LETTERS, LETTER_OF, SKIPPED
from corral.batch.batch_outputs import StateWatch
from corral.batch.statistics import Rate
from corral.client.blocking import Client, PendingReply
from corral.model.batch import BatchProgress
from corral.model.job import Job
from corral.output.reader import PollInterval
from corral.protocol.requests import Waited, WaitForJobs
from corral_tui.blocked_terminal import PATIENCE
from corral_tui.cli.each.delivery import InputDelivery
from corral_tui.cli.output.job_copies import WholeJobs
from corral_tui.cli.output.job_streams import JobStreams
from corral_tui.cli.output.progress_line import ProgressLine
from corral_tui.cli.support.interrupts import Interrupts
from corral_tui.cli.support.stop_on_signal import StopOnSignal
from corral_tui.text.batch_progress import progress_text

_FAILED = tuple(bytes((letter,)) for letter in FAILED_LETTERS)
_LOOK_SECONDS = 0.02
"""Between two looks at what has ended."""


class BatchWatch:
    """A batch that was started, and its client.

    Args:
        copies_output: else only its end matters.
    """

    def __init__(
        self,
        client: Client,
        delivery: InputDelivery,
        streams: JobStreams,
        states: StateWatch,
        copies: WholeJobs,
        progress: ProgressLine,
        stops: StopOnSignal,
        *,
        copies_output: bool,
    ) -> None:
        self._client = client
        self._delivery = delivery
        self._streams = streams
        self._states = states
        self._copies = copies
        self._progress = progress
        self._stops = stops
        self._copies_output = copies_output
        self._rate = Rate()
        self._is_told = False
        self._looked = self._moved = 0.0
        """When ends were last looked for, and when output was last copied or the batch was not over (CLOCK_MONOTONIC)."""

    def to_the_end(self, interrupts: Interrupts, *, swept: bool) -> Job | None:
        """The batch once it has ended and all output is copied; None if the user did not wait for that."""
        waiting = self._client.begin(WaitForJobs(ids=(self._delivery.batch,), swept=swept))
        pace = PollInterval(time.monotonic())
        self._rate.note_start(time.monotonic())
        ended: Job | None = None
        while self._stops.handle_signals():
            has_moved = self._deliver()
            if ended is None and (ended := self._end_of(waiting)) is not None:
                self._look()
                self._copies.finish(self._streams.files.total)
            self._look_sometimes(time.monotonic())
            try:
                has_moved = self._copies.step() or has_moved
                self._give_up_terminal(is_held_up=ended is not None and not has_moved)
                if ended is not None and self._copies.is_done and not self._still_delivers:
                    return ended
                self._draw()
                self._sleep(waiting, interrupts, pace, has_moved=has_moved, is_over=ended is not None)
            except BrokenPipeError:
                self._copies.copier.discard()
                self._stops.output_was_closed()
        return None

    @property
    def _still_delivers(self) -> bool:
        return self._delivery.awaits_last_reply and not self._stops.forced_status

    def _deliver(self) -> bool:
        if self._stops.forced_status or self._is_told:
            return False
        has_moved = self._delivery.step()
        if self._delivery.is_over:
            self._is_told = True
            for remark in self._delivery.remarks():
                self._streams.err.say(remark)
        return has_moved

    def _end_of(self, waiting: PendingReply[Waited]) -> Job | None:
        waited = waiting.result(0)
        self._stops.take_replies()
        return None if waited is None else waited.jobs[0]

    def _look_sometimes(self, now: float) -> None:
        if now - self._looked >= _LOOK_SECONDS:
            self._look()

    def _look(self) -> None:
        found = self._states.look()
        self._looked = time.monotonic()
        for _ in found:
            self._rate.note_end(self._looked)
        self._copies.look(found if self._copies_output else [])

    def _give_up_terminal(self, *, is_held_up: bool) -> None:
        """After a signal, stop waiting for a terminal that accepts no output; the rest stays in the files."""
        now = time.monotonic()
        if not is_held_up:
            self._moved = now
        elif self._stops.forced_status and now - self._moved > PATIENCE:
            self._copies.copier.discard_for_terminals()

    def _sleep(
        self,
        waiting: PendingReply[Waited],
        interrupts: Interrupts,
        pace: PollInterval,
        *,
        has_moved: bool,
        is_over: bool,
    ) -> None:
        wakers = [interrupts.fileno()]
        delay = pace.delay(time.monotonic(), had_output=has_moved)
        if not is_over:
            wakers += [waiting.fileno()]
        if not (self._is_told or self._stops.forced_status):
            wakers += self._delivery.wakers()
            delay = min(delay, self._delivery.patience() or delay)
        self._copies.copier.wait(0 if has_moved else delay, wakers)

    # ---- the line

    def _draw(self) -> None:
        err, out = self._streams.err, self._streams.out
        if self._progress.is_due and not (err.has_queue or out.has_queue):
            err.draw(progress_text(self._counts(), with_rate=True))
            err.write_some()

    def _counts(self) -> BatchProgress:
        states = self._states
        total = self._delivery.total if self._is_told else None
        over = states.count(*LETTER_OF.values(), SKIPPED)
        per_second = self._rate.per_second(time.monotonic())
        left = None if total is None or not per_second else (total - over) / per_second
        return BatchProgress(
            total=total,
            queued=max(0, self._delivery.total - over - states.count(CLAIMED)),
            running=states.count(CLAIMED),
            succeeded=states.count(LETTER_OF["succeeded"]),
            failed=states.count(*_FAILED),
            stopped=states.count(LETTER_OF["stopped"]),
            skipped=states.count(SKIPPED),
            retried=0,
            per_second=per_second,
            seconds_left=left,
            jobs_at_a_time=0,
        )

    def clear_line(self) -> None:
        """Nothing of ours stands on the terminal any more."""
        self._streams.err.erase()
        self._streams.err.write_some()
