"""`corral attach`: connects our terminal with that of a job started with `--pty`."""

from __future__ import annotations

import os
import signal

import click

from corral.client.blocking import Client
from corral.model.errors import CorralError, NotSoError, UnknownJobError, UsageError
from corral.model.job import Job
from corral.protocol.requests import ListJobs
from corral_tui.cli.run.detach_key import DEFAULT_KEY, DetachKey, parse_key
from corral_tui.cli.support import connect
from corral_tui.cli.support.errors import complain
from corral_tui.cli.support.options import id_argument
from corral_tui.cli.support.outcomes import exit_status_of
from corral_tui.cli.support.usable_jobs import has_terminal
from corral_tui.text.phrases import reason_text
from corral_tui.text.terminal_output import say, visible


@click.command(
    "attach",
    short_help="See a job's terminal, and type into it.",
    epilog="Example: corral run --pty -n pw ./ask-for-password; corral attach pw",
)
@click.option(
    "--detach-key",
    metavar="KEY",
    default=DEFAULT_KEY,
    help=f"The key that leaves the job, such as ctrl+p or ^p; default: {DEFAULT_KEY}.",
)
@id_argument(usable=has_terminal)
def command(detach_key: str, job: str) -> int:
    """Show the terminal of a job that was started with `run --pty`, and type into it.

    Its output is still kept, and others can still watch. Ctrl-C goes to the job; the detach key leaves it. If the job
    ends while you are attached, exits with its status, else with 0.
    """
    from corral_tui.cli.run.raw_terminal import is_interactive

    key = parse_key(detach_key)
    if not is_interactive():
        raise UsageError(
            f"attach: this is not a terminal; corral send {job} TEXT types a line, corral logs -f {job} shows it"
        )
    with connect.daemon() as client:
        found = _job(client, job)
        return attach_and_report(client, found, key)


def attach_and_report(client: Client, job: Job, key: DetachKey, *, from_start: bool = False) -> int:
    """Attach, with a line before and after; return the exit status. Raises NotSoError if the job has already ended."""
    from corral_tui.cli.run.attach_session import attach, open_terminal

    opened = open_terminal(client, job.id)
    name = visible(f"{job.id} {job.title}")
    try:
        say(f"attached to {name}: {key.name} detaches, the job goes on")
        end = attach(client, job.id, opened, key, from_start=from_start)
    finally:
        os.close(opened.master)
    if end.how == "ended" and end.job is not None:
        reason = reason_text(end.job.state, end.job.reason)
        state = end.job.state.replace("_", " ")
        say(visible(f"job {name} has ended: {state}{f' ({reason})' if reason else ''}"))
        return exit_status_of([end.job])
    if end.how == "lost":
        raise CorralError(
            f"the daemon that held the terminal of job {job.id} has ended, so the job got SIGHUP; "
            f"corral show {job.id} says how it ended"
        )
    if end.how == "signalled":
        complain(
            f"job {job.id}: detached by {signal.Signals(end.signal).name}; corral attach {job.id} comes back"
        )
        return 128 + end.signal
    say(f"detached from {name}, which goes on: corral attach {job.id} comes back")
    return 0


def _job(client: Client, reference: str) -> Job:
    found = client.call(ListJobs(ids=(reference,)))
    if found.unknown:
        raise UnknownJobError(found.unknown[0])
    job = found.jobs[0]
    if not job.pty:
        raise NotSoError(f"job {job.id} has no terminal; start it with corral run --pty to attach to it")
    if job.is_ended:
        raise NotSoError(f"job {job.id} has ended ({job.state}); corral logs {job.id} shows what it printed")
    return job
