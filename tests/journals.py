"""A small journal to test with: one place, specifications, ended jobs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from corral.journal.rows import new_job
from corral.model.job import Job
from corral.model.spec import Command, JobSpec, Pipeline, Surroundings
from until import running

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PLACE = Surroundings(environment={"PATH": "/bin"}, cwd="/srv", umask=0o22, limits={7: (64, -1)}, nice=3)


def spec(*programs: str, name: str | None = None) -> JobSpec:
    stages = tuple(Command((program, "-x")) for program in programs or ("true",))
    return JobSpec(Pipeline(stages), " | ".join(programs or ("true",)), name=name)


def ended(job: int, what: JobSpec, state: str = "succeeded", seconds: float = 2.0) -> Job:
    base = new_job(job, what, PLACE.cwd, AT)
    stages = tuple(replace(stage, state="succeeded", pid=100 + stage.number) for stage in base.stages)
    end = AT + timedelta(seconds=seconds)
    return replace(base, state=state, stages=stages, started=AT, ended=end, exit_status=0)  # type: ignore[arg-type]


_LOCKER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[2:]:
    connection.execute(statement).fetchall()
print("ready", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked(path: str, *statements: str) -> Iterator[str]:
    """Another program that does this to the journal and stays there; its name, as a sentence has it."""
    argv = [sys.executable, "-S", "-E", "-c", _LOCKER, path, *(statements or ("BEGIN IMMEDIATE",))]
    with running(*argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"ready\n"
        with open(f"/proc/{other.pid}/comm", encoding="utf-8") as name:
            yield f"{name.read().strip()} (pid {other.pid})"
