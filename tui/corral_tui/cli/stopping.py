"""What `stop` and `kill` have in common: the request, the report, the exit status."""

from __future__ import annotations

from msgspec import structs

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
        stops = _stop(client, request)
        titles = {job: f"{job} {title}" for job, title in _titles(client, stops).items()}
    if request.stage is not None and not as_json:
        titles = {job: f"{title}, stage {request.stage}" for job, title in titles.items()}
        stops = structs.replace(stops, reports=tuple(map(_of_stage, stops.reports)))
    print_stops(stops, titles, as_json=as_json, is_over=request.wait)
    if request.stage is None:
        is_done = all(report.nothing_is_left for report in stops.reports)
    else:
        # The job may well be going on, or be stopping as a whole.
        is_done = not any(report.survivors or report.in_doubt for report in stops.reports)
    return 0 if not stops.unknown and (is_done or not request.wait) else 1


def _of_stage(report: StopReport) -> StopReport:
    """As one tells of a stage: its job may well go on."""
    if report.survivors:
        return report
    if report.looked_at is None:
        return structs.replace(report, state="stopping")
    note = report.note if report.processes else "it had ended, and nothing of it is left"
    return structs.replace(report, state="stopped", note=note)


def _stop(caller: reach.Caller, request: StopJobs) -> Stops:
    """Stop them by number: a wait for the end goes on with the next daemon, where `--all` or a name may mean others."""
    if not request.wait or request.stage is not None:
        return caller.call(request)
    if request.all:
        return _stop_all(caller, request)
    jobs = reach.numbers_of(caller, request.ids, leftovers=True)
    if not jobs.ids:
        return Stops((), jobs.unknown)
    stops = caller.call(structs.replace(request, ids=jobs.ids))
    return structs.replace(stops, unknown=(*jobs.unknown, *stops.unknown))


def _stop_all(caller: reach.Caller, request: StopJobs) -> Stops:
    """The daemon says which all are; the end of those that take longer is waited for by number."""
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
    """What a person calls the jobs, by id; a daemon of an earlier version does not say it by itself."""
    if stops.titles or not stops.reports:
        return stops.titles
    jobs = caller.call(ListJobs(ids=tuple(report.id for report in stops.reports))).jobs
    return {job.id: job.title for job in jobs}
