"""`corral logs`: prints the output of jobs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import NamedTuple

import click

from corral.client.blocking import Client
from corral.model.errors import NotSoError, UsageError
from corral.model.home import Home
from corral.model.job import Job
from corral.model.units import format_size
from corral.output.reader import PollInterval
from corral.output.stream_order import MergedStreams
from corral.protocol.requests import ListJobs, WaitForJobs
from corral_tui.cli.jobs.batch_logs import PackedSource, packed_of, print_batch
from corral_tui.cli.jobs.log_options import LogOptions
from corral_tui.cli.output.copy_output import (
    Copier,
    CopySource,
    FileSource,
    Outlet,
    Transform,
    transform_for,
)
from corral_tui.cli.output.job_streams import last_lines, start_of_tail
from corral_tui.cli.support import connect
from corral_tui.cli.support.connect import Backend
from corral_tui.cli.support.errors import complain
from corral_tui.cli.support.home import chosen_home
from corral_tui.cli.support.options import ids_argument
from corral_tui.text import numbers
from corral_tui.text.lost_output import (
    disk_full_sentence,
    stream_name,
    truncated_by_stream,
    truncation_sentences,
)
from corral_tui.text.terminal_output import visible


@click.command(
    "logs", short_help="Print what jobs wrote; -f follows.", epilog="Example: corral logs -f --tail 20 build"
)
@click.option("-f", "--follow", is_flag=True, help="Keep printing until the job has ended.")
@click.option(
    "-n",
    "--tail",
    metavar="N",
    type=click.IntRange(min=0),
    help="Only the last N lines: of each stream, or of both merged.",
)
@click.option("--merged", is_flag=True, help="Print both on stdout, in the order in which they were written.")
@click.option("--stdout", "stdout", is_flag=True, help="Only stdout.")
@click.option("--stderr", "stderr", is_flag=True, help="Only stderr.")
@click.option("--stage", type=click.IntRange(min=1), help="Only the stderr of this stage.")
@click.option("--raw", is_flag=True, help="Do not change the output, even on a terminal.")
@ids_argument(required=False)
def command(
    follow: bool,
    tail: int | None,
    merged: bool,
    stdout: bool,
    stderr: bool,
    stage: int | None,
    raw: bool,
    ids: tuple[str, ...],
) -> int:
    """Print the stdout of jobs on stdout and their stderr on stderr; without an id, those of the newest job.

    On a terminal, and with --merged, both streams of one job come in the order in which they were written, recorded
    once a second. With several jobs, each line begins with the job's name. A terminal shows control sequences as
    visible text and keeps colours.
    """
    if merged and (stdout or stderr or stage is not None or len(ids) > 1):
        raise UsageError(
            "logs: --merged prints all of one job; leave out --stdout, --stderr, --stage and other ids"
        )
    if stage is not None and stdout:
        raise UsageError("logs: --stage N prints the stderr of one stage; leave out --stdout")
    has_choice = stdout or stderr or stage is not None
    choice = LogOptions(
        stdout=stdout or not has_choice,
        stderr=stderr or stage is not None or not has_choice,
        stage=stage,
        tail=tail,
        raw=raw,
        follow=follow,
        merged_was_asked=merged,
        merged=merged or (not (has_choice or len(ids) > 1) and os.isatty(1) and os.isatty(2)),
    )
    return print_logs(ids or ("@",), choice)


def print_logs(ids: tuple[str, ...], choice: LogOptions) -> int:
    """Print the chosen streams of these jobs; 1 if an id is unknown."""
    home = chosen_home()
    with connect.reader() as caller:
        found = caller.call(ListJobs(ids=ids))
        complain(*found.unknown)
        for batch in (job for job in found.jobs if job.kind == "batch"):
            print_batch(home, caller, batch, choice)
        known = _print_jobs(home, caller, [job for job in found.jobs if job.kind == "job"], choice)
    complain(*filter(None, map(disk_full_sentence, known.values())))
    return 1 if found.unknown else 0


def _print_jobs(home: Home, caller: Backend, jobs: Sequence[Job], choice: LogOptions) -> dict[str, Job]:
    """The jobs as they were last, by id."""
    running = [job for job in jobs if not job.is_ended]
    with ExitStack() as closing_files:
        streams = list(_streams(home, jobs, choice))
        copier = closing_files.enter_context(closing(Copier(streams)))
        known = {job.id: job for job in jobs}
        _report_losses(jobs, choice)
        if choice.follow and running and isinstance(caller, Client):
            ended = _follow(copier, caller, running)
            copier.drain()
            _report_losses(ended, choice, reported=jobs)
            known |= {job.id: job for job in ended}
        else:
            copier.fix_ends()
            copier.drain()
    return known


def _streams(home: Home, jobs: Sequence[Job], choice: LogOptions) -> Iterator[CopySource]:
    out, err = Outlet(1), Outlet(2)
    is_several = len(jobs) > 1
    for job in jobs:
        packed = packed_of(home, job) if job.batch is not None and job.is_ended else ()
        if choice.merged and not packed:
            yield _merged(home, job, choice)
            continue
        if choice.stage is not None and choice.stage > len(job.stages):
            raise NotSoError(f"job {job.id}: it has no stage {choice.stage}; its last is {len(job.stages)}")
        for path, stream, outlet in _files(home, job, choice, out, out if choice.merged else err):
            transform = transform_for(
                outlet.descriptor, f"{visible(job.title)} | " if is_several else "", raw=choice.raw
            )
            if packed:
                yield PackedSource(last_lines(packed[stream], choice.tail), outlet, transform)
                continue
            _report_if_removed(job, stream, path)
            start = start_of_tail(path, choice.tail)
            handlers = _handlers(job, stream, transform, at_head=start == 0)
            yield FileSource(path, outlet, start=start, **handlers._asdict())


def _merged(home: Home, job: Job, choice: LogOptions) -> MergedSource:
    out = Outlet(1)
    watched = []
    paths = [path for path, _, _ in _files(home, job, choice, out, out)]
    for number, path in enumerate(paths):
        _report_if_removed(job, number, path)
        transform = transform_for(out.descriptor, "", raw=choice.raw)
        watched.append(_handlers(job, number, transform, at_head=choice.tail is None))
    merged = MergedStreams(paths, home.order(job.id))
    if choice.tail is not None:
        merged.skip_to_last_lines(choice.tail)
    return MergedSource(merged, out, watched)


def _handlers(job: Job, stream: int, transform: Transform, *, at_head: bool) -> StreamHandlers:
    name = stream_name(job, stream)
    return StreamHandlers(transform, _DropReporter(job, name, at_head), _TruncationReporter(job, name))


def _report_if_removed(job: Job, stream: int, path: str) -> None:
    # Empty files of jobs of batches are removed by the daemon.
    if job.started is not None and job.batch is None and not os.path.lexists(path):
        name = stream_name(job, stream)
        complain(f"job {job.id}: its {name} was removed: {visible(path)} is not there any more")


def _files(
    home: Home, job: Job, choice: LogOptions, out: Outlet, err: Outlet
) -> Iterator[tuple[str, int, Outlet]]:
    """Path, stream number (0 is stdout, then stderr by stage), and outlet of each chosen stream."""
    for stream in choice.streams(len(job.stages)):
        yield home.outputs(job.id, stream)[stream], stream, err if stream else out


def _report_losses(jobs: Sequence[Job], choice: LogOptions, reported: Sequence[Job] = ()) -> None:
    """Report what the jobs' own programs truncated, except what was `reported` before."""
    before = {job.id: truncated_by_stream(job) for job in reported}
    for job in jobs:
        streams = {
            stream
            for stream, lost in truncated_by_stream(job).items()
            if (choice.stdout if stream == 0 else choice.stderr and choice.stage in (None, stream))
            and lost != before.get(job.id, {}).get(stream)
        }
        complain(*truncation_sentences(job, streams))


@dataclass
class _DropReporter:
    """Reports dropped output on stderr: once for the start of the stream, then for each piece we were too late for."""

    job: Job
    name: str
    at_head: bool

    def __call__(self, dropped: int) -> None:
        size, cap = f"{dropped} bytes ({numbers.size(dropped)})", self.job.max_output
        kept = "" if cap is None else f"; the newest {format_size(cap)} are kept (--max-output)"
        if self.at_head:
            complain(f"job {self.job.id}: the first {size} of its {self.name} were dropped{kept}")
        else:
            complain(
                f"job {self.job.id}: {size} of its {self.name} were dropped before they could be read{kept}"
            )
        self.at_head = False


class _TruncationReporter:
    """Reports once on stderr that a stream that we follow was truncated."""

    def __init__(self, job: Job, name: str) -> None:
        self._sentence = f"job {job.id}: its {name} was made shorter just now: what follows was written since"
        self._is_reported = False

    def __call__(self) -> None:
        if not self._is_reported:
            complain(self._sentence)
        self._is_reported = True


def _follow(copier: Copier, client: Client, jobs: list[Job]) -> tuple[Job, ...]:
    """Copy until all of `jobs` have ended. Returns the ended jobs."""
    waiting = client.begin(WaitForJobs(ids=tuple(job.id for job in jobs)))
    pace = PollInterval(time.monotonic())
    while (waited := waiting.result(0)) is None:
        has_moved = copier.step()
        delay = pace.delay(time.monotonic(), had_output=has_moved)
        copier.wait(0 if has_moved else delay, (waiting.fileno(),))
    copier.fix_ends()
    return waited.jobs


class StreamHandlers(NamedTuple):
    """How one stream is transformed, and the callbacks for its losses."""

    transform: Transform
    on_drop: Callable[[int], None]
    on_shorter: Callable[[], None]


@dataclass
class MergedSource:
    """The streams of one job in the order in which they were written, as one source of a `Copier`."""

    _merged: MergedStreams
    outlet: Outlet
    _watched: Sequence[StreamHandlers]
    _ends: list[int] | None = None
    is_read: bool = False

    def fix_end(self) -> None:
        if self._ends is None:
            self._ends = self._merged.sizes()

    def read_some(self) -> bool:
        if self.is_read or self.outlet.is_full:
            return False
        found = self._merged.read(ends=self._ends)
        if found is None:
            if self._ends is not None:
                self.outlet.put(b"".join(each.transform.flush() for each in self._watched))
                self.is_read = True
            return False
        number, chunk = found
        watched = self._watched[number]
        if chunk.after_truncation:
            watched.on_shorter()
        if chunk.dropped:
            watched.on_drop(chunk.dropped)
        self.outlet.put(watched.transform.feed(chunk.data))
        return True

    def close(self) -> None:
        self._merged.close()
