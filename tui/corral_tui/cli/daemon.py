"""`corral daemon`: status, start, stop, restart and log of the background process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal, cast

import click
from msgspec import structs

from corral import __version__
from corral.client import end_daemon
from corral.client.blocking import Client
from corral.client.restart_daemon import shut_down
from corral.home import identity
from corral.model.errors import CorralError, DaemonUnavailableError, NotSoError, UnreachableDaemonError
from corral.model.home import Home
from corral.model.job import Job
from corral.model.reports import DaemonStatus
from corral.model.wire import to_wire
from corral.platform.host.daemon_log import OLDER
from corral.platform.process.identity import identify, is_alive
from corral.protocol.requests import PROTOCOL, AskStatus, Hello, Jobs, ListJobs, ShowJob, Shutdown, Stops
from corral_tui.cli.jobs.stop import print_stops
from corral_tui.cli.support import connect
from corral_tui.cli.support.errors import complain
from corral_tui.cli.support.home import chosen_home
from corral_tui.cli.support.options import json_option
from corral_tui.cli.verbs import VerbGroup
from corral_tui.text import numbers
from corral_tui.text.numbers import counted
from corral_tui.text.phrases import leftovers_line, moment, named
from corral_tui.text.terminal_output import print_json, say, visible

NONE_RUNS = 3
_LOG_BYTES_PER_LINE = 4096


@click.group("daemon", cls=VerbGroup, no_args_is_help=False, epilog="Example: corral daemon status --json")
def command() -> None:
    """See or end the background process that holds the jobs. It starts and ends by itself."""


@command.command("status", epilog="Example: corral daemon status || echo none")
@json_option
def show_status(as_json: bool) -> int:
    """Print the state of the daemon; exits with 3 if none runs. Never starts one."""
    with connect.running_daemon(any_protocol=True) as client:
        if client is not None and client.hello.protocol != PROTOCOL:
            return _show_other_version(client.hello, as_json=as_json)
        status = None if client is None else client.call(AskStatus())
    if as_json:
        print_json(_empty_status(chosen_home()) if status is None else status)
    elif status is None:
        say(f"no daemon runs for {visible(chosen_home().path)}{_unwatched()}")
    else:
        _print_status(status)
    return NONE_RUNS if status is None else 0


def _empty_status(home: Home) -> dict[str, object]:
    """The keys of a status when no daemon runs."""
    unknown = dict.fromkeys(DaemonStatus.__struct_fields__)
    return {
        **unknown,
        "home": to_wire(home.path),
        "socket": to_wire(home.socket),
        "jobs": {},
        "leftovers": {},
        "notices": [],
    }


def _show_other_version(hello: Hello, *, as_json: bool) -> int:
    """Print what is known of a daemon with another protocol version."""
    home = chosen_home()
    if as_json:
        known = {"pid": hello.pid, "version": hello.version, "protocol": hello.protocol, "jobs": {}}
        print_json({**_empty_status(home), **known})
        return 0
    for key, value in (("pid", str(hello.pid)), ("version", hello.version), ("home", home.path)):
        say(f"{key:<10} {visible(value)}")
    say(f"{'protocol':<10} {hello.protocol}; this program, version {__version__}, speaks {PROTOCOL}:")
    say(f"{'':<10} corral daemon restart brings the daemon up to date and leaves the jobs running")
    return 0


def _unwatched() -> str:
    """What the journal tells about jobs left running without a daemon, after a crash or by `--jobs leave`."""
    from corral_tui.cli.support.offline import Offline

    home = chosen_home()
    try:
        with Offline.open(home) as offline:
            count = offline.unended()
        original = identity.copy_of(home) if count else None
    except CorralError as error:
        return f"; {visible(str(error))}"
    if not count:
        return ""
    if original is not None:
        return f"; it is a copy of {visible(original)}, where the jobs are that have not ended"
    if count == 1:
        return "; 1 job was left unwatched; corral ps takes it over"
    return f"; {count} jobs were left unwatched; corral ps takes them over"


def _print_status(status: DaemonStatus) -> None:
    counts = ", ".join(f"{count} {state}" for state, count in status.jobs.items() if count)
    rows = [
        ("pid", str(status.pid)),
        ("version", status.version),
        ("home", status.home),
        ("socket", status.socket),
        ("started", moment(status.started)),
        ("jobs", counts or "none"),
        ("cpu", "-" if status.cpu_percent is None else f"{numbers.cpu(status.cpu_percent)} %"),
        ("memory", numbers.size(status.memory_bytes)),
        ("marks", status.marks),
    ]
    if status.leftovers:
        rows.append(("leftovers", leftovers_line(status.leftovers)))
    rows += [("notice", notice) for notice in status.notices]
    for key, value in rows:
        say(f"{key:<10} {visible(value)}")


@command.command("run", epilog="Example: corral daemon run")
def run_in_foreground() -> int:
    """Run the daemon here, in the foreground, for a service manager or to watch it work."""
    from corral.daemon.main import run_foreground
    from corral.daemon.process_setup import ensure_utf8

    ensure_utf8()
    return run_foreground(chosen_home())


@command.command("stop", epilog="Example: corral daemon stop --jobs stop")
@click.option(
    "--jobs", type=click.Choice(["stop", "leave"]), help="Stop the jobs, or leave them running, unwatched."
)
@json_option
def stop(jobs: str | None, as_json: bool) -> int:
    """End the daemon. If jobs have not ended, --jobs must say what to do with them."""
    request = Shutdown(jobs=cast("Literal['stop', 'leave'] | None", jobs))
    try:
        with connect.running_daemon(any_protocol=True, is_lasting=True) as client:
            if client is None:
                say("[]" if as_json else f"no daemon runs{_unwatched()}")
                return 0
            return _stop(client, request, as_json=as_json)
    except UnreachableDaemonError as error:
        return _stop_unreachable(error, request, as_json=as_json)


def _stop(client: Client, request: Shutdown, *, as_json: bool) -> int:
    """Stop a daemon that answers, and return once its process is gone."""
    jobs = request.jobs
    if client.hello.protocol != PROTOCOL:
        return _stop_other_version(client, request, as_json=as_json)
    # With `stop` the reply contains the jobs.
    listed = Jobs(()) if jobs == "stop" else client.call(ListJobs())
    unended = listed.jobs
    if unended and jobs is None:
        raise NotSoError(_choose_jobs_option(unended))
    began = datetime.now(UTC)
    first = daemon = identify(client.daemon_pid)
    try:
        stops = client.call(request)
        daemon = identify(client.daemon_pid)
    except DaemonUnavailableError:
        if daemon is None or is_alive(daemon):
            raise
        # It has been ended by someone else meanwhile, as requested.
        stops = Stops(())
    end_daemon.wait_for_end(daemon)
    if jobs == "stop" and daemon != first:
        stops = _with_earlier_stops(stops, began)
    titles = {job: f"{job} {title}" for job, title in stops.titles.items()}
    print_stops(stops, titles, as_json=as_json)
    if not as_json and jobs != "stop":
        say(*_left_running(unended, listed.leftovers))
    return 0 if all(report.nothing_is_left for report in stops.reports) else 1


def _with_earlier_stops(stops: Stops, began: datetime) -> Stops:
    """Add, from the journal, the jobs that were stopped by a daemon that was killed during the stop."""
    from corral_tui.cli.support.offline import Offline

    reported = {report.id for report in stops.reports}
    with Offline.open(chosen_home()) as offline:
        jobs = offline.call(ListJobs(all=True)).jobs
        missing = [
            job for job in jobs if job.ended is not None and job.ended >= began and job.id not in reported
        ]
        found = [offline.call(ShowJob(job=job.id)).stop for job in missing]
    reports = (*(report for report in found if report is not None), *stops.reports)
    titles = {job.id: job.title for job in missing} | stops.titles
    return structs.replace(stops, reports=reports, titles=titles)


def _stop_unreachable(error: UnreachableDaemonError, request: Shutdown, *, as_json: bool) -> int:
    """End a daemon that does not answer. With `--jobs stop` a new daemon takes over its jobs and stops them."""
    home = chosen_home()
    if request.jobs is None:
        from corral_tui.cli.support.offline import Offline

        with Offline.open(home) as offline:
            unended = offline.call(ListJobs()).jobs
        if unended:
            raise NotSoError(_choose_jobs_option(unended))
    end_daemon.end_unreachable(home, error.pid)
    if request.jobs == "stop":
        with connect.daemon() as client:
            return _stop(client, request, as_json=as_json)
    say("[]" if as_json else f"the daemon, pid {error.pid}, has ended; it could not be reached{_unwatched()}")
    return 0


def _stop_other_version(client: Client, request: Shutdown, *, as_json: bool) -> int:
    """Stop a daemon with another protocol version, whose reports we cannot read."""
    daemon = identify(client.daemon_pid)
    survivors = shut_down(client, request)
    end_daemon.wait_for_end(daemon)
    if as_json:
        say("[]")
    else:
        say(f"the daemon (version {visible(client.hello.version)}, pid {client.hello.pid}) has ended")
    if survivors:
        complain(f"daemon stop: {counted(survivors, 'process')} could not be ended; corral ps names the jobs")
    return 1 if survivors else 0


@command.command("restart", epilog="Example: corral daemon restart")
def restart() -> int:
    """Replace the running daemon by this version; the jobs go on. If no daemon runs, start one."""
    from corral.client import restart_daemon

    home = chosen_home()
    with connect.running_daemon(any_protocol=True) as client:
        has_run = client is not None
        differs = client is not None and restart_daemon.what_differs(client) is not None
    if has_run and not (differs and restart_daemon.replace_idle_daemon(home)):
        restart_daemon.restart(home)
    with connect.daemon() as client:
        kept = restart_daemon.what_differs(client) if differs else None
        if kept is not None:
            complain(f"daemon restart: {kept}")
        left = sum(client.call(AskStatus()).jobs.values())
        done = "restarted" if has_run else "started, because none ran"
        jobs = f"{counted(left, 'job')} left running" if left else "no jobs"
        say(f"daemon {done}: version {client.hello.version}, pid {client.hello.pid}; {jobs}")
    return 0


def _left_running(unended: tuple[Job, ...], leftovers: dict[str, int]) -> Iterator[str]:
    """What keeps running without the daemon, and how to get it back."""
    if unended:
        are, them = ("1 job is", "it") if len(unended) == 1 else (f"{len(unended)} jobs are", "them")
        yield f"{are} left unwatched: {_named(unended)}; corral ps starts a daemon that takes {them} over"
    if leftovers:
        yield leftovers_line(leftovers)


def _named(jobs: tuple[Job, ...]) -> str:
    return visible(named([f"{job.id} {job.title}" for job in jobs]))


def _choose_jobs_option(jobs: tuple[Job, ...]) -> str:
    have = "1 job has" if len(jobs) == 1 else f"{len(jobs)} jobs have"
    return (
        f"daemon stop: {have} not ended: {_named(jobs)}; corral daemon stop --jobs stop ends them, "
        "--jobs leave leaves them running"
    )


@command.command("log", epilog="Example: corral daemon log -n 200")
@click.option(
    "-n",
    "--tail",
    "lines",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="Print this many lines.",
)
def show_log(lines: int) -> int:
    """Print the end of the daemon's log."""
    home = chosen_home()
    text = _end_of(home.daemon_log, lines)
    if text is None:
        raise NotSoError(f"{home.daemon_log}: no daemon has run here yet, so there is no log")
    found = text.splitlines()
    if len(found) < lines:
        found = (_end_of(home.daemon_log + OLDER, lines) or "").splitlines() + found
    for line in found[-lines:]:
        say(visible(line))
    return 0


def _end_of(path: str, lines: int) -> str | None:
    try:
        with open(path, "rb") as log:
            size = os.fstat(log.fileno()).st_size
            log.seek(max(0, size - lines * _LOG_BYTES_PER_LINE))
            return log.read().decode(errors="replace")
    except FileNotFoundError:
        return None
