"""A line that a job prints again and again: programs that retry mostly say why, as apt does about a lock that is held."""

from __future__ import annotations

from msgspec import structs

from corral.model.home import Home
from corral.model.job import Job
from corral.model.reports import Diagnosis
from corral.model.text import after_carriage_returns, one_line
from corral.output.reader import OutputFile

TIMES = 3
_TAIL = 2048
_LONGEST = 200
_SHORTEST = 8
"""Characters: a dot is no message."""


def with_repeated_line(found: Diagnosis, job: Job, home: Home) -> Diagnosis:
    """The same with that line in the summary, if a running job has printed nothing else lately. 40 µs a file."""
    if job.state != "running" or job.pty or found.health == "stuck" or found.root is None:
        return found
    if found.root.kind not in ("timer", "running"):
        return found
    stages = [stage for stage in job.stages if stage.pid is not None]
    paths = [home.stdout(job.id), *(home.stderr(job.id, stage.number) for stage in stages[-1:])]
    line = next((line for path in paths if (line := _repeated_line(path))), None)
    return (
        found
        if line is None
        else structs.replace(found, summary=f"{found.summary}; it says again and again: {line}")
    )


def _repeated_line(path: str) -> str | None:
    last = last_lines(path, _TAIL)[-TIMES:]
    is_repeated = len(last) == TIMES and len(set(last)) == 1 and len(last[0]) >= _SHORTEST
    return last[0][:_LONGEST] if is_repeated else None


def last_lines(path: str, limit: int) -> list[str]:
    """The lines of its last `limit` bytes that are not empty, as one sees them. None of what cannot be read: `logs` says why."""
    try:
        with OutputFile(path) as file:
            data = file.tail(limit).data
    except OSError:
        return []
    lines = (one_line(after_carriage_returns(line)).strip() for line in data.split(b"\n"))
    return [line for line in lines if line]
