"""`corral run --pty --wait` on a terminal: the job has ours from its first byte on."""

from __future__ import annotations

import signal
import time
from contextlib import closing

from corral.observe.output import Pace
from corral.service.client import Client
from corral.service.protocol import ListJobs, StopJobs
from corral.values.errors import CannotStartError, NotSoError
from corral.values.jobs import Job
from corral_tui.cli import connect
from corral_tui.cli.attach import stay
from corral_tui.cli.copy_output import Copier, Outlet, Stream
from corral_tui.cli.detach_key import DEFAULT_KEY, parse_key
from corral_tui.cli.errors import complain
from corral_tui.cli.outcomes import could_not_start, exit_status_of
from corral_tui.cli.raw_terminal import OUTPUT, RawTerminal
from corral_tui.cli.request import Prepared
from corral_tui.cli.run_and_wait import TERMINATED
from corral_tui.cli.terminal_output import note

_LOOK_SECONDS = 0.1


def run_attached(prepared: Prepared) -> int:
    """Start the job and stay with its terminal; TERM stops it, as for every `run --wait`. What to exit with."""
    with connect.daemon() as client:
        try:
            started = client.call(prepared.request, prepared.descriptors)
        except CannotStartError as error:
            return could_not_start(client, error, as_json=False)
        for line in started.left:
            complain(line)
        (job_id,) = started.ids
        try:
            status = stay(client, _started(client, job_id), parse_key(DEFAULT_KEY), from_start=True)
        except NotSoError:
            return _told_after_its_end(client, job_id)
        if status == 128 + signal.SIGTERM:
            client.call(StopJobs(ids=(job_id,), by="by SIGTERM to corral run --wait"))
            return TERMINATED
        return status


def _told_after_its_end(client: Client, job_id: str) -> int:
    """It ended before we could attach: what it printed, and how it ended."""
    job = client.call(ListJobs(ids=(job_id,))).jobs[0]
    if not job.is_ended:
        raise NotSoError(f"job {job_id} has no terminal any more; corral show {job_id}")
    path, outlet = client.home.stdout(job_id), Outlet(OUTPUT)
    with (
        RawTerminal(()) as terminal,
        closing(Copier([Stream(path, outlet, transform=terminal.modes, on_drop=lambda _: None)])) as copier,
    ):
        copier.fix_ends()
        while not copier.is_done:
            if not copier.step():
                copier.wait(Pace.SLOW, ())
    return exit_status_of([job])


def _started(client: Client, job_id: str) -> Job:
    """The job once it is no longer queued. Ctrl-C leaves it there."""
    has_said = False
    while True:
        job = client.call(ListJobs(ids=(job_id,))).jobs[0]
        if job.state != "queued":
            return job
        if not has_said:
            note(
                f"corral: job {job_id} waits for {job.waiting_for or 'its turn'}; ctrl+c leaves it in the queue"
            )
            has_said = True
        time.sleep(_LOOK_SECONDS)
