"""What the dialogs that stop one job, several or all have in common: the request, and the reports of what becomes of it."""

from __future__ import annotations

from collections.abc import Iterable

from corral.model.job import Job
from corral.model.reports import StopReport
from corral.protocol.requests import AskStopping, StopJobs
from corral_tui.dashboard.dialogs.base import BottomDialog
from corral_tui.dashboard.dialogs.stop_text import report_line
from corral_tui.dashboard.frame.screen import Host
from corral_tui.dashboard.paint.lines import Line, clean

POLL_SECONDS = 0.25


def is_stoppable(job: Job) -> bool:
    """Whether there is anything to stop: the job itself, or what it left behind."""
    return not job.is_ended or job.leftovers > 0


class StoppingDialog(BottomDialog):
    """Stops the jobs that it names, and no others."""

    def __init__(self, host: Host, jobs: Iterable[Job]) -> None:
        super().__init__(host)
        self.name_jobs(jobs)
        self.reports: dict[str, StopReport] = {}

    def name_jobs(self, jobs: Iterable[Job]) -> None:
        """These, in place of those named before."""
        self.jobs = tuple(jobs)
        self.job_ids = tuple(job.id for job in self.jobs)

    def on_mount(self) -> None:
        self.set_interval(POLL_SECONDS, self.poll)

    def stop_jobs(self, grace: float | None) -> None:
        self.run_worker(self._begin(grace), group="begin", exclusive=True)

    async def _begin(self, grace: float | None) -> None:
        request = StopJobs(ids=self.job_ids, grace=grace, wait=False, by="from the dashboard")
        reply = await self.ask(request)
        if reply is not None:
            self.problem = None
            self.reports |= {report.id: report for report in reply.reports}
            self.has_begun()

    async def poll(self) -> None:
        """Textual awaits a timer's callback before the next tick, so two polls never overlap."""
        reply = await self.ask(AskStopping(ids=self.job_ids))
        if reply is not None:
            self.reports |= {report.id: report for report in reply.reports}
            self.has_looked(reply.reports)
            self.redraw()

    def has_begun(self) -> None:
        """The daemon has taken the request."""

    def has_looked(self, reports: tuple[StopReport, ...]) -> None:
        """Newer reports are there."""

    def report_lines(self, reports: Iterable[StopReport], width: int) -> list[Line]:
        """A line each."""
        titles = {job.id: clean(job.title) for job in self.jobs}
        charset = self.host.charset
        return [report_line(each, titles.get(each.id, each.id), width, charset) for each in reports]
