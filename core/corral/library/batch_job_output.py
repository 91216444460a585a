"""What a job of a batch has printed: in the batch's file once it has ended, if it is little, else in files of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from corral.batch.batch_files import CLAIMED, BatchFiles
from corral.batch.batch_outputs import JobOutput, output_of
from corral.lifecycle.job_reference import parse_batch_job
from corral.model.errors import UnknownJobError
from corral.model.home import Home


@contextmanager
def _files(home: Home, job_id: str) -> Iterator[tuple[BatchFiles, int, int]]:
    found = parse_batch_job(job_id)
    assert found is not None
    try:
        files = BatchFiles(home, int(found[0]))
    except FileNotFoundError:
        raise UnknownJobError(f"job {job_id} was removed") from None
    try:
        yield files, int(found[0]), found[1]
    finally:
        files.close()


def printed(home: Home, job_id: str, stages: int) -> JobOutput:
    """Of the job of that id, such as `12.3`. Raises UnknownJobError."""
    with _files(home, job_id) as (files, batch, number):
        return output_of(files, home, batch, number, stages)


def is_under_way(home: Home, job_id: str) -> bool:
    """Whether what its files hold is still its own: of one that has ended another may use them. Raises UnknownJobError."""
    with _files(home, job_id) as (files, _, number):
        return files.state(number) == CLAIMED
