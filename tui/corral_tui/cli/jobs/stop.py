"""`corral stop` and `corral kill`: end jobs and report what became of each process."""

from __future__ import annotations

import click
from msgspec import structs

from corral.model.errors import UsageError
from corral.model.reports import StopReport
from corral.model.units import parse_signal, signal_name
from corral.protocol.requests import ListJobs, StopJobs, Stops
from corral_tui.cli.support import connect
from corral_tui.cli.support.errors import complain
from corral_tui.cli.support.options import DURATION, SIGNAL, ids_argument, json_option
from corral_tui.cli.support.usable_jobs import has_processes
from corral_tui.text.stop_report import is_about_leftovers, is_going_on, report_lines
from corral_tui.text.terminal_output import print_json, say


@click.command(
    "stop",
    short_help="End jobs and everything that they started.",
    epilog="Example: corral stop --grace 30s build 7",
)
@click.option(
    "-s", "--signal", "first", type=SIGNAL, help="Send this first, instead of the job's stop signal."
)
@click.option("--grace", type=DURATION, help="Time from the first signal to KILL.")
@click.option("--stage", type=click.IntRange(min=1), help="Only this stage of the job.")
@click.option("--all", "everything", is_flag=True, help="All jobs that have not ended.")
@click.option("--no-wait", is_flag=True, help="Return at once; the stop goes on.")
@json_option
@ids_argument(required=False, usable=has_processes)
def stop(
    first: str | None,
    grace: float | None,
    stage: int | None,
    everything: bool,
    no_wait: bool,
    as_json: bool,
    ids: tuple[str, ...],
) -> int:
    """End jobs and everything that they started, and say how each process ended.

    The stop signal goes to all their processes; KILL follows after the grace time. Exits with 0 only if nothing is left.
    """
    request = StopJobs(
        ids=ids,
        all=everything,
        signal=first,
        grace=grace,
        stage=stage,
        wait=not no_wait,
        by="by corral stop",
    )
    return stop_jobs(request, verb="stop", as_json=as_json)


class _Kill(click.Command):
    """Answers `kill -9 7` with the corresponding `corral signal`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for index, word in enumerate(args):
            name = _signal_of(word)
            if name is not None:
                ids = " ".join(
                    other for other in args[:index] + args[index + 1 :] if not other.startswith("-")
                )
                raise UsageError(f"kill: {word}: kill takes no signal; corral signal {name} {ids or 'ID'}")
        return super().parse_args(ctx, args)


def _signal_of(word: str) -> str | None:
    """The signal in `-9` or `-KILL`; None for any other word."""
    if not word.startswith("-") or not word[1:].isalnum() or not (word[1:].isdigit() or word[1:].isupper()):
        return None
    try:
        return signal_name(parse_signal(word[1:]))
    except UsageError:
        return None


@click.command(
    "kill", cls=_Kill, short_help="End jobs at once, with KILL.", epilog="Example: corral kill build"
)
@click.option("--all", "everything", is_flag=True, help="All jobs that have not ended.")
@json_option
@ids_argument(required=False, usable=has_processes)
def kill(everything: bool, as_json: bool, ids: tuple[str, ...]) -> int:
    """End jobs at once, and everything that they started: `corral stop --grace 0`.

    To send only a signal, use `corral signal`.
    """
    request = StopJobs(ids=ids, all=everything, grace=0.0, by="by corral kill")
    return stop_jobs(request, verb="kill", as_json=as_json)


def stop_jobs(request: StopJobs, *, verb: str, as_json: bool) -> int:
    """Stop jobs, report each process, and return 0 only if nothing is left (or was not waited for)."""
    if bool(request.ids) == request.all:
        what = "either ids or --all, not both" if request.all else "name the jobs, or give --all"
        raise UsageError(f"{verb}: {what}; see corral {verb} --help")
    with connect.daemon() as client:
        stops = _stop(client, request)
        titles = {job: f"{job} {title}" for job, title in _titles(client, stops).items()}
    if request.stage is not None and not as_json:
        titles = {job: f"{title}, stage {request.stage}" for job, title in titles.items()}
        stops = structs.replace(stops, reports=tuple(map(_of_stage, stops.reports)))
    print_stops(stops, titles, as_json=as_json, is_over=request.wait)
    if request.stage is None:
        is_done = all(report.nothing_is_left for report in stops.reports)
    else:
        # The other stages may still run, or be stopping.
        is_done = not any(report.survivors or report.in_doubt for report in stops.reports)
    return 0 if not stops.unknown and (is_done or not request.wait) else 1


def _of_stage(report: StopReport) -> StopReport:
    """The report reworded for a stage, whose job may still run."""
    if report.survivors:
        return report
    if report.looked_at is None:
        return structs.replace(report, state="stopping")
    note = report.note if report.processes else "it had already ended, and nothing of it is left"
    return structs.replace(report, state="stopped", note=note)


def _stop(caller: connect.Backend, request: StopJobs) -> Stops:
    """Stop by job number: if the daemon is replaced the wait continues, and `--all` or a name could mean other jobs."""
    if not request.wait or request.stage is not None:
        return caller.call(request)
    if request.all:
        return _stop_all(caller, request)
    jobs = connect.resolve_ids(caller, request.ids, leftovers=True)
    if not jobs.ids:
        return Stops((), jobs.unknown)
    stops = caller.call(structs.replace(request, ids=jobs.ids))
    return structs.replace(stops, unknown=(*jobs.unknown, *stops.unknown))


def _stop_all(caller: connect.Backend, request: StopJobs) -> Stops:
    """Let the daemon choose the jobs; then wait by number for those that take longer."""
    begun = caller.call(structs.replace(request, wait=False))
    unproven = tuple(report.id for report in begun.reports if report.looked_at is None)
    if not unproven:
        return begun
    ended = caller.call(structs.replace(request, ids=unproven, all=False, asked_before=True))
    reports = {report.id: report for report in (*begun.reports, *ended.reports)}
    titles = {**begun.titles, **ended.titles}
    return structs.replace(begun, reports=tuple(reports.values()), unknown=ended.unknown, titles=titles)


def print_stops(stops: Stops, titles: dict[str, str], *, as_json: bool, is_over: bool = True) -> None:
    """The reports, and a complaint for each unknown id."""
    if as_json:
        print_json(stops.reports)
    else:
        for report in stops.reports:
            say(*_lines(report, titles.get(report.id, report.id), is_over))
    complain(*stops.unknown)


def _lines(report: StopReport, title: str, is_over: bool) -> list[str]:
    if not is_over and is_going_on(report) and is_about_leftovers(report):
        return [f"{title}: its leftovers are being ended; corral stop {report.id} waits for their end"]
    if not is_over and is_going_on(report):
        return [f"{title}: is being stopped; corral wait {report.id} waits for its end"]
    return list(report_lines(report, title))


def _titles(caller: connect.Backend, stops: Stops) -> dict[str, str]:
    """Job titles by id; a daemon of an earlier version does not send them with the report."""
    if stops.titles or not stops.reports:
        return stops.titles
    jobs = caller.call(ListJobs(ids=tuple(report.id for report in stops.reports))).jobs
    return {job.id: job.title for job in jobs}
