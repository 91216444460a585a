"""`corral each --wait`: copies what the jobs print, and stops the batch when we are interrupted."""

from __future__ import annotations

import sys
from contextlib import ExitStack, closing

from corral.batch.batch_outputs import StateWatch
from corral.client.blocking import Client
from corral.model.errors import CannotStartError, CorralError, DaemonUnavailableError
from corral.model.job import Job
from corral_tui.cli.each.batch_watch import BatchWatch
from corral_tui.cli.each.delivery import InputDelivery
from corral_tui.cli.each.request import EachOptions, PreparedBatch
from corral_tui.cli.output.job_copies import LinesOfJobs, WholeJobs
from corral_tui.cli.output.job_streams import JobStreams
from corral_tui.cli.output.progress_line import ProgressLine
from corral_tui.cli.support import connect
from corral_tui.cli.support.errors import OUTPUT_CLOSED, complain
from corral_tui.cli.support.home import chosen_home
from corral_tui.cli.support.interrupts import Interrupts
from corral_tui.cli.support.outcomes import exit_status_of, report_start_failure
from corral_tui.cli.support.stop_on_signal import StopOnSignal
from corral_tui.text.phrases import reason_text
from corral_tui.text.terminal_output import is_terminal, note, print_json


def each_and_wait(prepared: PreparedBatch, options: EachOptions) -> int:
    """Start the batch, copy the output of its jobs until it ends, and return its exit status."""
    with Interrupts() as interrupts, connect.daemon() as client:
        try:
            started = client.call(prepared.request)
        except CannotStartError as error:
            return report_start_failure(client, error, as_json=options.as_json)
        complain(*started.left)
        (batch,) = started.ids
        is_told = is_terminal(sys.stderr) and not options.quiet
        if is_told:
            note(f"corral: batch {batch}")
        stops = StopOnSignal(client, batch, interrupts, what=f"batch {batch}", waiter="corral each --wait")
        try:
            ended = _watch(client, batch, prepared, options, stops, interrupts)
        except DaemonUnavailableError as error:
            raise CorralError(
                f"batch {batch}: {error}, corral wait {batch} waits for its end, corral logs {batch} shows its output"
            ) from None
    if ended is None:
        return stops.forced_status
    if options.as_json:
        print_json(ended)
    return _status(ended, stops.forced_status, is_told=is_told)


def _watch(
    client: Client,
    batch: str,
    prepared: PreparedBatch,
    options: EachOptions,
    stops: StopOnSignal,
    interrupts: Interrupts,
) -> Job | None:
    """The batch once it has ended and all is copied; None if the user did not wait for that."""
    progress = ProgressLine(is_wanted=not options.quiet)
    with ExitStack() as always_closed:
        streams = always_closed.enter_context(
            closing(
                JobStreams(
                    chosen_home(),
                    batch,
                    len(prepared.request.spec.job.pipeline.stages),
                    progress,
                    is_tagged=options.tag,
                    by_line=options.line_buffer,
                )
            )
        )
        states = StateWatch(streams.files)
        copies = always_closed.enter_context(closing(_copies(streams, states, options)))
        client.on_silence = streams.err.say
        delivery = InputDelivery(client, batch, prepared.inputs)
        watch = BatchWatch(
            client, delivery, streams, states, copies, progress, stops, copies_output=not options.as_json
        )
        try:
            return watch.to_the_end(interrupts, swept=options.leftovers == "stop")
        finally:
            watch.clear_line()


def _copies(streams: JobStreams, states: StateWatch, options: EachOptions) -> WholeJobs:
    if options.line_buffer and not options.as_json:
        return LinesOfJobs(streams, states, in_order=options.keep_order, last_attempt=options.retries + 1)
    return WholeJobs(streams, states, in_order=options.keep_order and not options.as_json)


def _status(batch: Job, forced_status: int, *, is_told: bool) -> int:
    """The status of the signal if it really stopped the batch; otherwise it had ended by itself first."""
    if forced_status and (batch.state == "stopped" or forced_status == OUTPUT_CLOSED):
        return forced_status
    if batch.state != "succeeded" and is_told:
        reason = reason_text(batch.state, batch.reason) or "the reason is not known"
        complain(f"batch {batch.id}: {batch.state.replace('_', ' ')}: {reason}; corral show {batch.id}")
    return exit_status_of([batch])
