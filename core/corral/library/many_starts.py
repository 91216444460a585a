"""Starting many jobs: requests of a size that the daemon accepts, and the error if one of them is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from corral.library.job_handle import JobHandle
from corral.model.errors import CorralError
from corral.model.spec import JobSpec, Surroundings
from corral.protocol.requests import StartJobs

JOBS_A_REQUEST = 500
BYTES_A_REQUEST = 1 << 19
"""Of specifications in one request; a longer one goes alone. Other clients are served in between."""

_encoder = msgspec.json.Encoder()


class PartlyStartedError(CorralError):
    """`start_many`: some could not be asked for. `started` are the handles of the jobs before them; `cause` says why."""

    def __init__(self, started: Sequence[JobHandle], count: int, cause: CorralError) -> None:
        super().__init__(f"{len(started)} of {count} jobs were started, then: {cause}")
        self.started = tuple(started)
        self.cause = cause


def requests(specs: Sequence[JobSpec], surroundings: Surroundings) -> Iterator[StartJobs]:
    """The requests, to be sent one after the other."""
    first = size = 0
    for number, spec in enumerate(specs):
        size += len(_encoder.encode(spec))
        if number > first and (size > BYTES_A_REQUEST or number - first == JOBS_A_REQUEST):
            yield StartJobs(specs=tuple(specs[first:number]), surroundings=surroundings)
            first, size = number, len(_encoder.encode(spec))
    if first < len(specs):
        yield StartJobs(specs=tuple(specs[first:]), surroundings=surroundings)
