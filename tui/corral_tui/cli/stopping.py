"""What `stop` and `kill` have in common: the request, the report, the exit status."""

from __future__ import annotations

from corral.service.protocol import ListJobs, StopJobs, Stops
from corral.values.errors import UsageError
from corral.values.reports import StopReport
from corral_tui.cli import reach
from corral_tui.cli.guard import complain
from corral_tui.cli.jsontext import print_json
from corral_tui.cli.plain import say
from corral_tui.cli.proof import is_going_on, is_of_leftovers, report_lines


def stop_jobs(request: StopJobs, *, verb: str, as_json: bool) -> int:
    """Stop, say what became of each process, and return 0 only if nothing is left (or was not waited for)."""
    if bool(request.ids) == request.all:
        what = "either ids or --all, not both" if request.all else "name the jobs, or give --all"
        raise UsageError(f"{verb}: {what}; see corral {verb} --help")
    with reach.daemon() as client:
        stops = client.call(request)
        titles = _titles(client, stops)
    print_stops(stops, titles, as_json=as_json, is_over=request.wait and request.stage is None)
    is_done = all(report.nothing_is_left for report in stops.reports)
    return 0 if not stops.unknown and (is_done or not request.wait or request.stage is not None) else 1


def print_stops(stops: Stops, titles: dict[str, str], *, as_json: bool, is_over: bool = True) -> None:
    """The reports, and a complaint for each unknown id."""
    if as_json:
        print_json(stops.reports)
    else:
        for report in stops.reports:
            for line in _lines(report, titles.get(report.id, report.id), is_over):
                say(line)
    for problem in stops.unknown:
        complain(problem)


def _lines(report: StopReport, title: str, is_over: bool) -> list[str]:
    if not is_over and is_going_on(report) and is_of_leftovers(report):
        return [f"{title}: its leftovers are being ended; corral stop {report.id} waits for their end"]
    if not is_over and is_going_on(report):
        return [f"{title}: is being stopped; corral wait {report.id} waits for its end"]
    return list(report_lines(report, title))


def _titles(caller: reach.Caller, stops: Stops) -> dict[str, str]:
    """`7 build` by id, for the report's first line."""
    if not stops.reports:
        return {}
    jobs = caller.call(ListJobs(ids=tuple(report.id for report in stops.reports))).jobs
    return {job.id: f"{job.id} {job.title}" for job in jobs}
