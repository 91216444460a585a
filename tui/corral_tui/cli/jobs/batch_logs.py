"""`corral logs` of a batch, and of a job in one that has ended: its output may be packed in a file of the batch."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass

from corral.batch.batch_files import BatchFiles
from corral.batch.batch_outputs import StateWatch, output_of
from corral.client.blocking import Client
from corral.model.errors import NotSoError, UsageError
from corral.model.home import Home
from corral.model.job import Job
from corral.output.reader import PollInterval
from corral.protocol.requests import ListJobs, WaitForJobs
from corral_tui.cli.jobs.log_options import LogOptions
from corral_tui.cli.output.copy_output import Outlet, Transform
from corral_tui.cli.output.job_copies import WholeJobs
from corral_tui.cli.output.job_streams import JobStreams
from corral_tui.cli.output.progress_line import ProgressLine
from corral_tui.cli.support import connect

_LOOK_SECONDS = 0.05


def print_batch(home: Home, caller: connect.Backend, batch: Job, choice: LogOptions) -> None:
    """All in the order of the inputs, each block whole, unended ones as far as they are; to be followed, as they end.

    Raises:
        UsageError, NotSoError: that cannot be told of a batch.
    """
    if choice.merged_was_asked:
        raise UsageError("logs: --merged is for one job; corral logs --merged " + f"{batch.id}.1")
    stages = _stages(caller, batch)
    if choice.stage is not None and choice.stage > stages:
        raise NotSoError(f"batch {batch.id}: its jobs have no stage {choice.stage}; their last is {stages}")
    streams = JobStreams(
        home,
        batch.id,
        stages,
        ProgressLine(is_wanted=False),
        is_raw=choice.raw,
        tail=choice.tail,
        wanted=frozenset(choice.streams(stages)),
    )
    with closing(streams):
        watch = StateWatch(streams.files)
        is_live = choice.follow and not batch.is_ended and isinstance(caller, Client)
        with closing(WholeJobs(streams, watch, in_order=not is_live)) as whole:
            if is_live:
                assert isinstance(caller, Client)
                _follow(caller, batch, watch, whole, streams)
            watch.look()
            whole.finish(streams.files.total)
            while not whole.is_done:
                if not whole.step():
                    whole.copier.wait(_LOOK_SECONDS, ())


def _follow(client: Client, batch: Job, watch: StateWatch, whole: WholeJobs, streams: JobStreams) -> None:
    """Copy what has ended, and what ends, until the batch does."""
    waiting = client.begin(WaitForJobs(ids=(batch.id,)))
    pace, looked = PollInterval(time.monotonic()), 0.0
    while waiting.result(0) is None:
        now = time.monotonic()
        if now - looked >= _LOOK_SECONDS:
            whole.look(watch.look())
            looked = now
        has_moved = whole.step()
        delay = pace.delay(time.monotonic(), had_output=has_moved)
        whole.copier.wait(0 if has_moved else delay, (waiting.fileno(),))
    whole.look(watch.look())


def _stages(caller: connect.Backend, batch: Job) -> int:
    """Of each of its jobs."""
    found = caller.call(ListJobs(ids=(f"{batch.id}.1",))).jobs
    return len(found[0].stages) if found else 1


@dataclass
class PackedSource:
    """Output that is at hand, as one source of a `Copier`."""

    data: bytes
    outlet: Outlet
    transform: Transform
    is_read: bool = False

    def fix_end(self) -> None:
        """It has one."""

    def read_some(self) -> bool:
        if self.is_read or self.outlet.is_full:
            return False
        self.outlet.put(self.transform.feed(self.data) + self.transform.flush())
        self.is_read = True
        return True

    def close(self) -> None:
        """Nothing is open."""


def packed_of(home: Home, job: Job) -> tuple[bytes, ...]:
    """What an ended job of a batch has printed, where that is packed: of stdout, then of each stage's stderr."""
    batch, number = (int(part) for part in job.id.split("."))
    with closing(BatchFiles(home, batch)) as files:
        output = output_of(files, home, batch, number, len(job.stages))
    if output.packed or output.paths:
        return output.packed
    return (b"",) * (len(job.stages) + 1)
