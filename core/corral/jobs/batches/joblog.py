"""The log of a batch for other programs: a line for each end, as GNU parallel writes it (parallel(1), --joblog)."""

from __future__ import annotations

import os
import stat
from datetime import datetime

from corral.model.errors import UsageError
from corral.model.job import Job
from corral.model.units import parse_signal
from corral.model.wire import from_wire
from corral.platform.host.daemon_log import log

_HEAD = b"Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n"


def open_joblog(path: str, *, is_resumed: bool) -> int:
    """A descriptor for it. `is_resumed`: what stands in it stays. Raises UsageError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    try:
        descriptor = os.open(from_wire(path), flags | (0 if is_resumed else os.O_TRUNC), 0o666)
    except OSError as error:
        raise UsageError(f"--joblog {path}: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UsageError(f"--joblog {path}: it is no regular file")
    if not os.fstat(descriptor).st_size:
        os.write(descriptor, _HEAD)
    return descriptor


def note_end(descriptor: int, number: int, job: Job) -> None:
    """Write the line of a job that has ended."""
    started: datetime = job.started or job.ended or job.created
    ended = job.ended or started
    status = job.exit_status or 0
    by_signal = int(parse_signal(job.signal)) if job.signal else 0
    command = os.fsencode(from_wire(job.command)).replace(b"\n", b" ")
    head = (
        f"{number}\t:\t{started.timestamp():.3f}\t{(ended - started).total_seconds():10.3f}\t0\t"
        f"{job.stdout_bytes}\t{0 if by_signal else status}\t{by_signal}\t"
    )
    try:
        os.write(descriptor, head.encode() + command + b"\n")
    except OSError as error:
        log(f"job {job.id} is not in the joblog: {error.strerror}")
