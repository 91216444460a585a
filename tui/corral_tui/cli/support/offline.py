"""Answers read-only requests from the journal while no daemon runs and all jobs have ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, NoReturn, Self, cast

from msgspec import structs

from corral.batch.ended_batches import EndedBatches
from corral.journal.opening import DamagedJournalError
from corral.journal.reader import JournalReader
from corral.lifecycle.outcome import all_events
from corral.model.errors import CorralError, NotSoError
from corral.model.home import Home
from corral.model.job import Job
from corral.model.reports import Detail, Diagnosis, Story, with_history
from corral.protocol.requests import (
    AskStory,
    AskWhy,
    BatchJobs,
    Jobs,
    ListBatchJobs,
    ListJobs,
    Reply_,
    Request,
    ShowJob,
    Waited,
    WaitForJobs,
)

_A_PAGE = 500
"""Jobs."""


class Offline:
    """A `Backend` on the journal. A context manager."""

    def __init__(self, journal: JournalReader) -> None:
        self._journal = journal
        self._batches = EndedBatches(journal)
        self._answers: dict[type, Callable[[Any], object]] = {
            ListJobs: self._list,
            ListBatchJobs: self._page,
            ShowJob: self._show,
            AskWhy: self._why,
            AskStory: self._history,
            WaitForJobs: self._wait,
        }

    @classmethod
    def open(cls, home: Home) -> Self:
        """Open the journal of `home`. Raises CorralError if it cannot be read."""
        try:
            return cls(JournalReader.open(home))
        except DamagedJournalError as error:
            _raise_with_advice(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._journal.close()
        if isinstance(error, DamagedJournalError):
            _raise_with_advice(error)

    def unended(self) -> int:
        """How many jobs need a daemon: they run, or their end is not recorded yet."""
        return len(self._journal.unended_ids())

    def call(
        self, request: Request[Reply_], descriptors: Sequence[int] = (), timeout: float | None = None
    ) -> Reply_:
        """The answer. Raises CorralError, also for requests that need a daemon."""
        answer = self._answers.get(type(request))
        if answer is None:
            raise CorralError(f"{type(request).__name__}: no daemon runs to answer it")
        return cast("Reply_", answer(request))

    def pages(self) -> Iterator[Jobs]:
        """All jobs, some at a time: however many there are, few are in memory."""
        last = 0
        while ids := self._journal.ids_after(last, _A_PAGE):
            yield Jobs(tuple(self._journal.jobs(ids)))
            last = ids[-1]
        yield Jobs(())  # the head of a table stands above no jobs, too

    def _list(self, request: ListJobs) -> Jobs:
        if not request.ids:
            return Jobs(tuple(self._journal.jobs() if request.all else self._journal.unended_jobs()))
        found: list[Job] = []
        unknown: list[str] = []
        for wanted in dict.fromkeys(request.ids):
            try:
                found.append(self._batches.job(wanted))
            except NotSoError as error:
                unknown.append(str(error))
        return Jobs(tuple(found), tuple(unknown))

    def _show(self, request: ShowJob) -> Detail:
        job, number = self._batches.resolve(request.job)
        if number is not None:
            return Detail(job=self._batches.jobs(job, [number])[0])
        detail = self._journal.detail(job)
        return structs.replace(detail, events=all_events(detail.job, detail.events))

    def _why(self, request: AskWhy) -> Diagnosis:
        from corral.diagnosis.diagnose import diagnose
        from corral.diagnosis.postmortem import explain_failure

        if request.job is None:
            raise NotSoError("why: nothing runs; corral why ID tells how a job ended")
        job = self._batches.job(request.job)
        if job.batch is not None or job.kind == "batch":
            return diagnose(job)
        found = with_history(diagnose(job), job, self._journal.history(job))
        return explain_failure(found, job, self._journal)

    def _history(self, request: AskStory) -> Story:
        job = self._batches.job(request.job)
        return Story(job.id) if job.batch is not None else self._journal.history(job)

    def _page(self, request: ListBatchJobs) -> BatchJobs:
        batch = self._journal.resolve(request.batch)
        parts = [part for part in request.parts if part != "unended"]
        jobs, following = self._batches.page(batch, parts, request.limit, request.page_after)
        return BatchJobs(tuple(jobs), following)

    def _wait(self, request: WaitForJobs) -> Waited:
        """All jobs have ended, so there is nothing to wait for."""
        jobs = tuple(map(self._batches.job, request.ids))
        if not request.any:
            return Waited(jobs)
        return Waited((min(jobs, key=lambda job: job.ended or job.created),))


def _raise_with_advice(error: DamagedJournalError) -> NoReturn:
    raise CorralError(
        f"{error}; the next corral run sets it aside as corral.db.damaged-… and begins a new one; "
        "the output of all jobs stays in jobs/"
    ) from None
