"""`corral run --wait`: copies the job's output, and stops the job when we are interrupted."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from dataclasses import dataclass

from corral.client.blocking import Client, PendingReply
from corral.model.errors import CannotStartError, CorralError, DaemonUnavailableError
from corral.model.home import Home
from corral.model.job import Job
from corral.output.reader import PollInterval
from corral.protocol.requests import Started, Waited, WaitForJobs
from corral_tui.blocked_terminal import PATIENCE
from corral_tui.cli.output.copy_output import Copier, FileSource, Outlet, transform_for
from corral_tui.cli.run.request import PreparedRequest
from corral_tui.cli.support import connect
from corral_tui.cli.support.errors import OUTPUT_CLOSED, complain
from corral_tui.cli.support.home import chosen_home
from corral_tui.cli.support.interrupts import Interrupts
from corral_tui.cli.support.outcomes import exit_status_of, report_start_failure
from corral_tui.cli.support.stop_on_signal import StopOnSignal
from corral_tui.text import numbers
from corral_tui.text.lost_output import disk_full_sentence, truncation_sentences
from corral_tui.text.phrases import reason_text
from corral_tui.text.terminal_output import is_terminal, note, print_json


def run_and_wait(prepared: PreparedRequest, *, quiet: bool, as_json: bool, raw: bool = False) -> int:
    """Start the job, copy its output until it ends, and return its exit status."""
    with Interrupts() as interrupts, connect.daemon() as client:
        try:
            job = _start(client, prepared, interrupts)
        except CannotStartError as error:
            return report_start_failure(client, error, as_json=as_json)
        if is_terminal(sys.stderr) and not quiet:
            note(f"corral: job {job}")
        stages = len(prepared.request.specs[0].pipeline.stages)
        streams = [] if as_json else _streams(chosen_home(), job, stages, raw=raw)
        with closing(Copier(streams)) as copier:
            stops = StopOnSignal(client, job, interrupts, what=f"job {job}", waiter="corral run --wait")
            watch = _Watch(client, job, copier, interrupts, stops)
            try:
                ended = watch.to_the_end()
            except DaemonUnavailableError as error:
                raise CorralError(
                    f"job {job}: {error}, corral wait {job} waits for its end, corral logs -f {job} shows its output"
                ) from None
    if ended is None:
        return stops.forced_status
    if as_json:
        print_json(ended)
    else:
        complain(*truncation_sentences(ended))
    return _status(ended, stops.forced_status)


def _start(client: Client, prepared: PreparedRequest, interrupts: Interrupts) -> str:
    """Start the job and return its id. A redirection may block the start indefinitely (fifo(7)): the second Ctrl-C
    gives up; the first one is handled once there is a job to stop.
    """
    pending = client.begin(prepared.request, prepared.descriptors)
    copier = Copier([])
    while (started := pending.result(0)) is None:
        copier.wait(None, (pending.fileno(), interrupts.fileno()))
        if interrupts.count > 1:
            complain("the job had not started yet, and may still start; see corral ps")
            raise KeyboardInterrupt
    assert isinstance(started, Started)
    complain(*started.left)
    return started.ids[0]


def _streams(home: Home, job: str, stages: int, *, raw: bool) -> list[FileSource]:
    out, err = Outlet(1), Outlet(2)

    def refuse_gap(dropped: int) -> None:
        raise CorralError(
            f"job {job}: {dropped} bytes of its output were dropped before they could be copied, and it goes on: "
            f"corral logs {job}, corral wait {job}; run --max-output none keeps all"
        )

    paths = [(home.stdout(job), out)]
    paths += [(home.stderr(job, stage), err) for stage in range(1, stages + 1)]
    return [
        FileSource(
            path,
            outlet,
            transform=transform_for(outlet.descriptor, "", raw=raw),
            on_drop=refuse_gap,
            claims=True,
        )
        for path, outlet in paths
    ]


@dataclass
class _Watch:
    """One job until its end, and the signals that we receive meanwhile."""

    _client: Client
    _job: str
    _copier: Copier
    _interrupts: Interrupts
    _stops: StopOnSignal
    _sweep: PendingReply[Waited] | None = None
    _moved: float = 0.0
    """When output was last copied, or the job was last running (CLOCK_MONOTONIC)."""

    def to_the_end(self) -> Job | None:
        """The ended job, once all its output is copied; None if the user did not wait for that."""
        waiting = self._client.begin(WaitForJobs(ids=(self._job,)))
        pace = PollInterval(time.monotonic())
        ended: Job | None = None
        while True:
            if not self._stops.handle_signals():
                return None
            if ended is None and (ended := self._end_of(waiting)) is not None:
                self._copier.fix_ends()
            try:
                has_moved = self._copier.step()
                self._give_up_terminal(is_held_up=ended is not None and not has_moved)
                if ended is not None and self._copier.is_done and (swept := self._swept(ended)) is not None:
                    return swept
                self._sleep(waiting, has_moved, pace, is_over=ended is not None)
            except BrokenPipeError:
                self._copier.discard()
                self._stops.output_was_closed()

    def _give_up_terminal(self, *, is_held_up: bool) -> None:
        """After a signal, stop waiting for a terminal that accepts no output; the rest stays in the file."""
        now = time.monotonic()
        if not is_held_up:
            self._moved = now
        elif self._stops.forced_status and now - self._moved > PATIENCE:
            self._copier.discard_for_terminals()

    def _sleep(
        self, waiting: PendingReply[Waited], has_moved: bool, pace: PollInterval, *, is_over: bool
    ) -> None:
        delay = pace.delay(time.monotonic(), had_output=has_moved)
        wakers = [self._interrupts.fileno()] if is_over else [self._interrupts.fileno(), waiting.fileno()]
        self._copier.wait(0 if has_moved else delay, wakers)

    def _end_of(self, waiting: PendingReply[Waited]) -> Job | None:
        waited = waiting.result(0)
        self._stops.take_replies()
        return None if waited is None else waited.jobs[0]

    def _swept(self, ended: Job) -> Job | None:
        """The job, with `--leftovers stop` only once its leftovers are gone or given up."""
        if ended.on_leftovers != "stop":
            return ended
        if self._sweep is None:
            self._sweep = self._client.begin(WaitForJobs(ids=(self._job,), swept=True))
        waited = self._sweep.result(0)
        return None if waited is None else waited.jobs[0]


def _status(job: Job, forced_status: int) -> int:
    """The status of the signal if it really stopped the job; otherwise the job had ended by itself first."""
    if job.on_leftovers == "stop" and job.leftovers:
        left = numbers.counted(job.leftovers, "process")
        complain(f"job {job.id}: {left} of it could not be ended; corral stop {job.id} names them")
    missing = disk_full_sentence(job)
    if missing:
        complain(missing)
    if forced_status and job.state in ("stopped", "timed_out"):
        return forced_status
    if forced_status == OUTPUT_CLOSED:
        return OUTPUT_CLOSED
    must_be_reported = job.state == "lost" or job.started is None
    is_by_a_rule = job.state == "timed_out" or job.was_ended_as_stuck
    if must_be_reported or (is_by_a_rule and is_terminal(sys.stderr)):
        complain(f"job {job.id}: {_ending_text(job)}")
    return exit_status_of([job])


def _ending_text(job: Job) -> str:
    reason = reason_text(job.state, job.reason) or "the reason is not known"
    return f"{job.state.replace('_', ' ')}{' ' if job.state == 'timed_out' else ': '}{reason}"
