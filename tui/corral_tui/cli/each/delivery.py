"""Sends the inputs of a batch to the daemon as they come: soon, many at a time, and no more than it has room for."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator

from corral.client.blocking import Client, PendingReply
from corral.model.batch import BatchInput
from corral.model.errors import CorralError, NotSoError, UsageError
from corral.protocol.requests import Fed, FeedBatch

MOST_AT_ONCE = 1000
MOST_LETTERS_AT_ONCE = 1 << 20
MOST_WAITING = 1_000_000
"""Inputs that the daemon may have ahead."""
SOON = 0.05
"""Seconds that an input waits for others, so that many are sent as one."""
NO_INPUT = "there was no input, so there is nothing to run"


class InputDelivery:
    """The inputs of one batch on their way to the daemon. Nothing here waits but `wait`.

    Args:
        inputs: where there is no more yet, the descriptor to wait for.
    """

    def __init__(self, client: Client, batch: str, inputs: Iterator[BatchInput | int]) -> None:
        self.batch = batch
        self._client = client
        self._inputs = inputs
        self._chunk: list[BatchInput] = []
        self._letters = 0
        self._since = 0.0
        """When the first of the chunk came (CLOCK_MONOTONIC)."""
        self._waits_for: int | None = None
        self._pending: PendingReply[Fed] | None = None
        self._has_ended = False
        self._has_sent_last = False
        self._problem: CorralError | None = None
        self.is_over = False
        self.sent = 0
        self.total = 0
        """Of the batch, as the daemon said last."""
        self._left_out = 0

    @property
    def awaits_last_reply(self) -> bool:
        """Whether all was sent, and only the answer is missing."""
        return self._has_sent_last and not self.is_over

    def step(self) -> bool:
        """Take and send what is there. Returns whether anything moved.

        Raises:
            CorralError: an input cannot be one, or the daemon does not take them; what came before has been sent.
        """
        moved = self._take_reply()
        if self.is_over:
            return moved
        moved = self._collect() or moved
        if self._pending is None and self._is_due():
            self._send()
            return True
        return moved

    def _take_reply(self) -> bool:
        if self._pending is None:
            return False
        try:
            fed = self._pending.result(0)
        except NotSoError:
            # Somebody has stopped or removed the batch: it needs no more.
            self.is_over = True
            return True
        if fed is None:
            return False
        self._pending = None
        self.total, self._left_out = fed.total, fed.left_out
        if self._has_sent_last:
            self.is_over = True
            if self._problem is not None:
                raise self._problem
        return True

    def _collect(self) -> bool:
        before = len(self._chunk)
        self._waits_for = None
        while not (self._has_ended or self._is_full()):
            try:
                found = next(self._inputs, None)
            except UsageError as error:
                self._problem, found = error, None
            if isinstance(found, int):
                self._waits_for = found
                break
            if found is None:
                self._has_ended = True
                break
            self._chunk.append(found)
            self._letters += len(found.text) + sum(map(len, found.columns))
        if self._chunk and not before:
            self._since = time.monotonic()
        return len(self._chunk) > before

    def _is_full(self) -> bool:
        return len(self._chunk) >= MOST_AT_ONCE or self._letters >= MOST_LETTERS_AT_ONCE

    def _is_due(self) -> bool:
        return self._has_ended or self._is_full() or (bool(self._chunk) and self._seconds_left() <= 0)

    def _seconds_left(self) -> float:
        return self._since + SOON - time.monotonic()

    def _send(self) -> None:
        request = FeedBatch(
            batch=self.batch,
            before=self.sent,
            inputs=tuple(self._chunk),
            is_last=self._has_ended and self._problem is None,
            most_waiting=MOST_WAITING,
        )
        self._pending = self._client.begin(request)
        self._has_sent_last = self._has_ended
        self.sent += len(self._chunk)
        self._chunk, self._letters = [], 0

    # ---- waiting

    def wakers(self) -> list[int]:
        """The descriptors of which one is readable once there is something to do."""
        if self.is_over:
            return []
        source = [] if self._waits_for is None else [self._waits_for]
        return source if self._pending is None else [self._pending.fileno(), *source]

    def patience(self) -> float | None:
        """Seconds until there is something to do anyway."""
        if self.is_over or self._pending is not None or not self._chunk:
            return None
        return max(0.0, self._seconds_left())

    def wait(self) -> None:
        poller = select.poll()
        for descriptor in self.wakers():
            poller.register(descriptor, select.POLLIN)
        patience = self.patience()
        poller.poll(None if patience is None else patience * 1000 + 1)

    # ---- what is told

    @property
    def so_far(self) -> str:
        return f"batch {self.batch} goes on with what came: {self.sent} inputs"

    def remarks(self) -> list[str]:
        """What a person should know of the inputs, once it is over."""
        if not self.sent:
            return [NO_INPUT]
        if self._left_out:
            have = "1 input has" if self._left_out == 1 else f"{self._left_out} inputs have"
            return [f"{have} succeeded before, and {'is' if self._left_out == 1 else 'are'} left out"]
        return []
