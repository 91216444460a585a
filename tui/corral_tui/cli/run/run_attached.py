"""`corral run --pty --wait` on a terminal: attached from the first byte on."""

from __future__ import annotations

import signal
import time
from contextlib import closing

from corral.client.blocking import Client
from corral.model.errors import CannotStartError, NotSoError
from corral.model.job import Job
from corral.protocol.requests import ListJobs, StopJobs
from corral_tui.cli.output.copy_output import Copier, FileSource, Outlet
from corral_tui.cli.run.attach import attach_and_report
from corral_tui.cli.run.detach_key import DEFAULT_KEY, parse_key
from corral_tui.cli.run.raw_terminal import OUTPUT, RawTerminal
from corral_tui.cli.run.request import PreparedRequest
from corral_tui.cli.support import connect
from corral_tui.cli.support.errors import complain
from corral_tui.cli.support.outcomes import exit_status_of, report_start_failure
from corral_tui.cli.support.stop_on_signal import TERMINATED
from corral_tui.text.terminal_output import note

_POLL_SECONDS = 0.1


def run_attached(prepared: PreparedRequest) -> int:
    """Start the job and attach to its terminal; return the exit status. TERM stops the job, as for every `run --wait`."""
    with connect.daemon() as client:
        try:
            started = client.call(prepared.request, prepared.descriptors)
        except CannotStartError as error:
            return report_start_failure(client, error, as_json=False)
        complain(*started.left)
        (job_id,) = started.ids
        try:
            status = attach_and_report(
                client, _started(client, job_id), parse_key(DEFAULT_KEY), from_start=True
            )
        except NotSoError:
            return _print_ended(client, job_id)
        if status == 128 + signal.SIGTERM:
            client.call(StopJobs(ids=(job_id,), by="by SIGTERM to corral run --wait"))
            return TERMINATED
        return status


def _print_ended(client: Client, job_id: str) -> int:
    """The job ended before we could attach: print its output, and return its exit status."""
    job = client.call(ListJobs(ids=(job_id,))).jobs[0]
    if not job.is_ended:
        raise NotSoError(f"job {job_id} has no terminal any more; corral show {job_id}")
    path, outlet = client.home.stdout(job_id), Outlet(OUTPUT)
    with (
        RawTerminal(()) as terminal,
        closing(
            Copier([FileSource(path, outlet, transform=terminal.modes, on_drop=lambda _: None)])
        ) as copier,
    ):
        copier.fix_ends()
        copier.drain()
    return exit_status_of([job])


def _started(client: Client, job_id: str) -> Job:
    """Wait until the job is no longer queued. Ctrl-C leaves it in the queue."""
    is_announced = False
    while True:
        job = client.call(ListJobs(ids=(job_id,))).jobs[0]
        if job.state != "queued":
            return job
        if not is_announced:
            note(
                f"corral: job {job_id} waits for {job.waiting_for or 'its turn'}; ctrl+c leaves it in the queue"
            )
            is_announced = True
        time.sleep(_POLL_SECONDS)
