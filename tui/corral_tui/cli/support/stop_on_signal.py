"""Stops what a command waits for when that command is interrupted, or nobody reads its output any more."""

from __future__ import annotations

import signal

from corral.client.blocking import Client, PendingReply
from corral.protocol.requests import StopJobs, Stops
from corral_tui.cli.support.errors import INTERRUPTED, OUTPUT_CLOSED
from corral_tui.cli.support.interrupts import Interrupts
from corral_tui.text.terminal_output import note

TERMINATED = 143


class StopOnSignal:
    """What has to be done at a signal, for one job or batch.

    Args:
        what: `job 7`, for a message.
        waiter: the command that waits, for the reason of the stop.
    """

    def __init__(self, client: Client, job: str, interrupts: Interrupts, *, what: str, waiter: str) -> None:
        self._client = client
        self._job = job
        self._interrupts = interrupts
        self._what = what
        self._waiter = waiter
        self._stops: list[PendingReply[Stops]] = []
        self._has_skipped_grace = False
        self.forced_status = 0
        """The exit status if a signal or closed output made us stop it; 0: its own."""

    def handle_signals(self) -> bool:
        """Handle signals. Returns whether to go on waiting."""
        for number in self._interrupts.take():
            is_first = self.forced_status == 0
            if number == signal.SIGTERM:
                self.forced_status = self.forced_status or TERMINATED
                request = StopJobs(ids=(self._job,), wait=False, by=f"by SIGTERM to {self._waiter}")
            elif is_first:
                self.forced_status = INTERRUPTED
                request = StopJobs(ids=(self._job,), signal="INT", wait=False, by="by Ctrl-C")
            elif not self._has_skipped_grace:
                self._has_skipped_grace = True
                request = StopJobs(ids=(self._job,), grace=0.0, wait=False, by="by Ctrl-C")
            else:
                note(f"corral: {self._what} is still being stopped; corral show {self._job}")
                return False
            self._stop(request)
        return True

    def output_was_closed(self) -> None:
        self._stop(StopJobs(ids=(self._job,), wait=False, by="because its output was closed"))
        self.forced_status = self.forced_status or OUTPUT_CLOSED

    def _stop(self, request: StopJobs) -> None:
        self._stops.append(self._client.begin(request))

    def take_replies(self) -> None:
        """Raises what a stop was answered with, if it was an error."""
        self._stops = [stop for stop in self._stops if stop.result(0) is None]
