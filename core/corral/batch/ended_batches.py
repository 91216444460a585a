"""Batches and their jobs as files and the journal tell, without a daemon."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import islice

from corral.batch.batch_files import FAILED_LETTERS, LETTER_OF, BatchFiles
from corral.batch.batch_job import StoredInputs
from corral.batch.batch_rows import batch_origin
from corral.journal.reader import JournalReader
from corral.lifecycle.job_reference import parse_batch_job
from corral.model.errors import NotSoError, UnknownJobError
from corral.model.job import Job

Page = tuple[int, int]
"""Which part, and after which number."""
NumbersOfPart = Callable[[str, int, int], list[int]]
"""Of a part, after that number, at most so many."""
_REST = LETTER_OF["succeeded"] + LETTER_OF["stopped"]


def numbers_of(files: BatchFiles, part: str, after: int, most: int) -> list[int]:
    """The inputs whose jobs have ended, of the part `failed` or `rest`."""
    letters = FAILED_LETTERS if part == "failed" else _REST
    return list(islice(files.numbers_in(letters, after), most))


class EndedBatches:
    """The batches that a journal knows to have ended."""

    def __init__(self, journal: JournalReader) -> None:
        self._journal = journal

    def resolve(self, reference: str) -> tuple[int, int | None]:
        """The job that is meant, and which of its inputs, where it is one in a batch. Raises UnknownJobError, NotSoError."""
        of_batch = parse_batch_job(reference)
        try:
            return self._journal.resolve(reference), None
        except UnknownJobError:
            if of_batch is None:
                raise
        return self._journal.resolve(of_batch[0]), of_batch[1]

    def job(self, reference: str) -> Job:
        """The job or batch that is meant. Raises UnknownJobError, NotSoError."""
        job, number = self.resolve(reference)
        return self._journal.job(job) if number is None else self.jobs(job, [number])[0]

    def jobs(self, batch: int, numbers: Sequence[int]) -> list[Job]:
        """Raises UnknownJobError where there is no such input, or it is no batch."""
        origin = batch_origin(self._journal, batch)
        if origin is None:
            raise UnknownJobError(f"job {batch} is no batch, so it has no jobs")
        created = self._journal.job(batch).created
        with closing(self.files(batch)) as files:
            stored = StoredInputs(batch, origin[0], origin[1].cwd, created, files)
            try:
                return [stored.job(number) for number in numbers]
            except IndexError as error:
                inputs = "1 input" if files.total == 1 else f"{files.total} inputs"
                raise UnknownJobError(f"no job {batch}.{error}: batch {batch} has {inputs}") from None

    def files(self, batch: int) -> BatchFiles:
        """To be closed. Raises NotSoError."""
        try:
            return BatchFiles(self._journal.home, batch)
        except OSError as error:
            raise NotSoError(f"the inputs of batch {batch} cannot be read: {error.strerror}") from None

    def page(
        self, batch: int, parts: Sequence[str], limit: int, after: Page | None
    ) -> tuple[list[Job], Page | None]:
        """Some jobs that have ended, those of the parts in turn, and where the next page begins."""
        with closing(self.files(batch)) as files:
            numbers, following = page_of(parts, limit, after, lambda *asked: numbers_of(files, *asked))
        return self.jobs(batch, numbers), following


def page_of(
    parts: Sequence[str], limit: int, after: Page | None, numbers_of_part: NumbersOfPart
) -> tuple[list[int], Page | None]:
    """The numbers of one page, and where the next one begins."""
    part, number = after or (0, 0)
    found: list[int] = []
    while part < len(parts):
        room = limit - len(found)
        numbers = numbers_of_part(parts[part], number, room)
        found += numbers
        if len(numbers) == room:
            return found, (part, numbers[-1] if numbers else number)
        part, number = part + 1, 0
    return found, None
