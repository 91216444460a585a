"""`corral wait`: waits for jobs and exits with their status."""

from __future__ import annotations

import click

from corral.model.errors import CorralError, DaemonUnavailableError, UnknownJobError
from corral.protocol.requests import Waited, WaitForJobs
from corral_tui.cli.support import connect
from corral_tui.cli.support.errors import complain
from corral_tui.cli.support.options import DURATION, ids_argument, json_option
from corral_tui.cli.support.outcomes import exit_status_of
from corral_tui.text.phrases import named
from corral_tui.text.terminal_output import print_json, say

TIMED_OUT = 124


@click.command("wait", epilog="Example: corral wait --timeout 10m build tests")
@click.option("--any", "first_only", is_flag=True, help="Return when the first one ends, and print its id.")
@click.option("--timeout", type=DURATION, help="Give up after this time and exit with 124; stops nothing.")
@json_option
@ids_argument()
def command(first_only: bool, timeout: float | None, as_json: bool, ids: tuple[str, ...]) -> int:
    """Wait for jobs to end. Exits with the status of the first job, in your order, that did not succeed, else with 0."""
    with connect.reader() as caller:
        jobs = connect.resolve_ids(caller, ids)
        if jobs.unknown:
            raise UnknownJobError("; ".join(jobs.unknown))
        try:
            waited = caller.call(WaitForJobs(ids=jobs.ids, any=first_only, timeout=timeout))
        except DaemonUnavailableError as error:
            raise CorralError(f"wait: {error}, corral wait {' '.join(jobs.ids)} waits again") from None
    if as_json:
        print_json(waited.jobs)
    elif first_only and not waited.timed_out:
        for job in waited.jobs:
            say(job.id)
    return _status(waited, timeout)


def _status(waited: Waited, timeout: float | None) -> int:
    if waited.timed_out:
        left = named([f"{job.id} {job.title}" for job in waited.jobs if not job.is_ended])
        complain(f"wait: {left or 'the jobs'} had not ended after {timeout:g} s; nothing was stopped")
        return TIMED_OUT
    return exit_status_of(waited.jobs)
