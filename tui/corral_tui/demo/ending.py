"""The end of the demo: stops everything, counts it, and names what is left."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from corral.model.errors import DaemonUnavailableError
from corral.model.job import Job
from corral.model.reports import StopReport
from corral.protocol.requests import AskStopping, ListJobs, StopJobs
from corral_tui.demo.own_daemon import DemoSession
from corral_tui.text.numbers import counted
from corral_tui.text.terminal_output import visible


@dataclass(frozen=True, slots=True)
class DemoSummary:
    """What the demo ran, and a line for each thing that is left, which should be none."""

    jobs: int
    processes: int
    left: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """`N jobs, M processes, nothing is left.`, or how many things are left."""
        total = f"{counted(self.jobs, 'job')}, {counted(self.processes, 'process')}"
        return f"{total}, {f'{len(self.left)} LEFT' if self.left else 'nothing is left'}."


async def end(session: DemoSession) -> DemoSummary:
    """Stop every job, end the daemon, remove its home."""
    with_jobs = session
    try:
        jobs, reports = await _stop_all(session)
    except DaemonUnavailableError:
        if not _has_home(session):
            await session.close()
            return _ending(session, tuple(session.snapshot.jobs.values()), ())
        # The daemon was killed and its jobs still run: a new daemon on its home takes them over, and removes the home.
        with_jobs = await DemoSession.open_private(home=session.home, origin="dashboard")
        jobs, reports = await _stop_all(with_jobs)
    # Leftovers of jobs that had ended before are stopped with the daemon.
    reports = (*reports, *await with_jobs.end())
    await session.close()
    return _ending(with_jobs, jobs, reports)


async def _stop_all(session: DemoSession) -> tuple[tuple[Job, ...], tuple[StopReport, ...]]:
    """All jobs, ended or given up, and the stop reports, also of jobs that ended before."""
    await session.call(StopJobs(all=True, by="with the demo"))
    jobs = (await session.call(ListJobs(all=True))).jobs
    ids = tuple(job.id for job in jobs)
    return jobs, (await session.call(AskStopping(ids=ids))).reports if ids else ()


def _ending(session: DemoSession, jobs: tuple[Job, ...], reports: tuple[StopReport, ...]) -> DemoSummary:
    return DemoSummary(len(jobs), len(_pids(jobs, reports)), tuple(_left(session, jobs, reports)))


def _has_home(session: DemoSession) -> bool:
    return os.path.isdir(session.home.path)


def _pids(jobs: Iterable[Job], reports: Iterable[StopReport]) -> set[tuple[str, int]]:
    """All known processes by job: pids may have been reused."""
    stages = {(job.id, stage.pid) for job in jobs for stage in job.stages if stage.pid is not None}
    return stages | {(report.id, process.pid) for report in reports for process in report.processes}


def _left(session: DemoSession, jobs: Iterable[Job], reports: tuple[StopReport, ...]) -> list[str]:
    lines = [
        f"{survivor.pid}  {visible(survivor.name)}  state {survivor.state}: {visible(survivor.reason)}"
        for report in {report.id: report for report in reports}.values()
        for survivor in report.survivors
    ]
    reported = {report.id for report in reports}
    lines += [
        f"job {job.id} {visible(job.title)}: it is not known how it ended"
        for job in jobs
        if job.id not in reported
    ]
    if _has_home(session):
        lines.append(f"{session.home.path}: the demo's folder")
    return lines
