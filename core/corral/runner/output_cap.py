"""`--max-output`: an output file that has grown past its job's cap gives its oldest bytes back to the disk.

A cut is noted before the hole is punched, as the length of an empty file beside the output (`stdout.dropped`): that
takes no block of a full disk, is there after a crash at any moment, and tells what was dropped also where the writer
left holes of its own. Readers go by the note alone. The punching is a thread's: fallocate(2) waits for a write(2) of
the job under way, and the daemon must not.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from msgspec import Struct, field, structs

from corral.jobs.job_table import JobTable
from corral.jobs.managed_job import ManagedJob
from corral.jobs.snapshots import Snapshots
from corral.journal.journal import Journal
from corral.model.batch import BatchJobId
from corral.model.home import Home
from corral.model.job import Job
from corral.model.spec import DEFAULT_MAX_OUTPUT
from corral.model.units import format_size
from corral.output.capped_stream import (
    SOONEST_SECONDS,
    CappedStream,
    begin_note,
    in_thread,
    line_start,
    open_to_punch,
    punched,
    set_note,
)
from corral.output.job_files import size_own
from corral.output.reader import dropped_bytes
from corral.output.reader_claims import first_claimed
from corral.platform.files import hole_punching
from corral.processes.local_run import run_of
from corral.runner.feed import Feeds

FIRST_LOOK_SECONDS = 0.1
"""After the start of a job. A tick would be too late for one that begins with a gigabyte a second."""
LATEST_SECONDS = 1.0
"""Beyond it the tick comes sooner."""
LEAST_SLACK = 64 << 10
MOST_SLACK = 64 << 20
NOTABLE_GROWTH = 16 << 20
"""What may come between two ticks and be no matter. With more on the disk than that (statvfs(3)) the jobs that seem
to sleep are looked at too; a stream that grows by more a second is looked at sooner."""


def slack_of(cap: int) -> int:
    """How far a stream grows past its cap before it is cut: a sixteenth, so that one cut in that many bytes is enough."""
    return min(MOST_SLACK, max(LEAST_SLACK, cap // 16))


class OutputCap(Struct, eq=False):
    """Keeps the output of jobs within their caps. Looks at sizes only, until there is something to cut."""

    _home: Home
    _table: JobTable
    _journal: Journal
    _snapshots: Snapshots
    _feeds: Feeds
    _leftovers: Callable[[], Iterable[int]]
    """The jobs that have ended and may have left something alive."""
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    _timers: dict[int, asyncio.TimerHandle] = {}
    _fresh: list[ManagedJob] = []
    _spared: dict[int, ManagedJob] = {}
    """Jobs that have ended and are past their cap for the sake of a reader that is behind."""
    _used_bytes: int | None = None
    _punched_since: int = 0

    # ---- when to look

    def watch_from_start(self, job: ManagedJob) -> None:
        """It has started: have a first look before the first tick. One timer serves all that start together."""
        if job.spec.max_output is None:
            return
        if not self._fresh:
            self._loop.call_later(FIRST_LOOK_SECONDS, self._look_at_fresh)
        self._fresh.append(job)

    def _look_at_fresh(self) -> None:
        fresh, self._fresh = self._fresh, []
        for job in fresh:
            cap = job.spec.max_output
            if cap is None or not job.life.is_started or run_of(job).capped:
                continue
            # At this pace, what will it be by the next tick?
            if self._total(job) * (1 + 2 * LATEST_SECONDS / FIRST_LOOK_SECONDS) > cap:
                self._look_closely(job)

    def look(self, job: ManagedJob) -> None:
        """The monitor has just read the sizes of a job that runs."""
        cap, output = job.spec.max_output, job.output
        if cap is None:
            return
        if not run_of(job).capped:
            total = output.stdout + output.stderr
            growth = output.recent[-1][1] - output.recent[-2][1] if len(output.recent) > 1 else total
            if total + 2 * growth <= cap:
                return
        self._look_closely(job)
        self._publish(job)

    def tick(self) -> None:
        """After the monitor's pass: those that it left out, should anything have grown, and what ended jobs left."""
        for job_id in self._leftovers():
            job = self._table.started.get(job_id)
            if job is not None and job.leftovers:
                self._look_at_ended(job)
        for job in list(self._spared.values()):
            self._look_at_ended(job)
        if not self._disk_has_filled():
            return
        for job in self._table.started.values():
            cap, output = job.spec.max_output, job.output
            if cap is None or not run_of(job).files.paths:
                continue
            total = self._total(job)
            if total > output.stdout + output.stderr:
                job.next_visit = 0
                if total > cap // 2:
                    self._look_closely(job)

    def _disk_has_filled(self) -> bool:
        """Whether there is much more on the home's file system than at the last tick."""
        try:
            found = os.statvfs(self._home.jobs)
        except OSError:
            return True
        used = (found.f_blocks - found.f_bfree) * found.f_frsize
        before, self._used_bytes = self._used_bytes, used
        given_back, self._punched_since = self._punched_since, 0
        return before is None or used - before + given_back >= NOTABLE_GROWTH

    def finish(self, job: ManagedJob) -> None:
        """It has ended, its last sizes are known: the last cut, and the counts for its last snapshot."""
        timer = self._timers.pop(job.id, None)
        if timer is not None:
            timer.cancel()
        cap = job.spec.max_output
        if cap is None or (not run_of(job).capped and job.output.stdout + job.output.stderr <= cap):
            return
        self._look_closely(job)
        self._publish(job)
        self._note_spared(job)

    def _note_spared(self, job: ManagedJob) -> None:
        """Come back to an ended job as long as there is something to be cut later."""
        cap = job.spec.max_output
        if cap is not None and any(
            stream.spared and stream.size - stream.noted > cap + slack_of(cap)
            for stream in run_of(job).capped
        ):
            self._spared[job.id] = job
        else:
            self._spared.pop(job.id, None)

    def _look_at_ended(self, job: ManagedJob) -> None:
        """What it left alive may go on writing."""
        run = run_of(job)
        cap = job.spec.max_output
        if cap is None:
            return
        if not run.capped and self._total(job) <= cap:
            return
        before = job.output.stdout_dropped, [stage.history.stderr_dropped for stage in job.stages]
        self._look_closely(job)
        self._note_spared(job)
        sizes = [stream.size for stream in run.capped]
        noted = [stream.noted for stream in run.capped]
        if not noted or before == (noted[0], noted[1:]):
            return
        job.output.stdout = sizes[0]
        for stage, size in zip(job.stages, sizes[1:], strict=True):
            stage.history.stderr_bytes = size
        self._publish(job)
        if isinstance(job.id, BatchJobId):
            return
        snapshot = _with_output(self._snapshots.of(job.id), sizes, noted)
        self._table.ended[job.id] = snapshot
        self._journal.update_ended(snapshot)

    # ---- one look

    def _look_closely(self, job: ManagedJob) -> None:
        """Cut what is to be cut, and come back in time for the next cut."""
        cap = job.spec.max_output
        assert cap is not None
        now = self._loop.time()
        wait = LATEST_SECONDS
        try:
            looked_at = list(zip(self._streams(job), self._sizes(job), strict=True))
        except OSError as error:
            # EIO, ENOMEM: nothing is dropped unseen, and there will be another look. EPERM: it is not the file any more.
            for stream in run_of(job).capped:
                if stream.path == error.filename:
                    self._complain(job, stream, error)
            return
        for stream, size in looked_at:
            stream.measure(size, now)
            if size < stream.noted:
                self._begin_anew(job, stream)
            if size - stream.noted > cap + slack_of(cap):
                self._cut(job, stream, size, cap)
            else:
                self._punch(job, stream)
            if stream.rate > NOTABLE_GROWTH and not (stream.cannot or stream.is_punching):
                room = cap + slack_of(cap) - (size - stream.noted)
                wait = min(wait, max(0, room) / stream.rate)
        if wait < LATEST_SECONDS and not job.life.is_ended:
            self._come_back(job, max(SOONEST_SECONDS, wait))

    def _come_back(self, job: ManagedJob, seconds: float) -> None:
        timer = self._timers.get(job.id)
        if timer is not None:
            timer.cancel()
        self._timers[job.id] = self._loop.call_later(seconds, self._look_again, job)

    def _look_again(self, job: ManagedJob) -> None:
        self._timers.pop(job.id, None)
        if self._table.started.get(job.id) is job and not job.life.is_ended:
            self._look_closely(job)

    def _streams(self, job: ManagedJob) -> Sequence[CappedStream]:
        run = run_of(job)
        if not run.capped:
            # What stands there by now may have come within the last second, for all we know.
            since = max(job.life.started_now or 0.0, self._loop.time() - LATEST_SECONDS)
            run.capped = [
                CappedStream(path, job.stream_name(number), _noted(path), measured_at=since)
                for number, path in enumerate(self._home.outputs(job.id, len(job.stages)))
            ]
        return run.capped

    def _sizes(self, job: ManagedJob) -> list[int]:
        """stdout, then stderr by stage."""
        run = run_of(job)
        if run.files.paths:
            return run.files.sizes()
        return [size_own(path) for path in self._home.outputs(job.id, len(job.stages))]

    def _total(self, job: ManagedJob) -> int:
        """The same added up; 0 where they cannot be read now (EIO, ENOMEM), and another look will tell."""
        try:
            return sum(self._sizes(job))
        except OSError:
            return 0

    def _publish(self, job: ManagedJob) -> None:
        """The counts go out beside the sizes that were read with them."""
        run = run_of(job)
        if not run.capped:
            return
        stdout, *stderr = run.capped
        job.output.stdout_dropped = stdout.noted
        for stage, stream in zip(job.stages, stderr, strict=True):
            stage.history.stderr_dropped = stream.noted
        self._table.touch(job)

    # ---- one cut

    def _cut(self, job: ManagedJob, stream: CappedStream, size: int, cap: int) -> None:
        """Drop all but the newest `cap` bytes and what of a line stands before them."""
        if stream.cannot or (stream.is_punching and not job.life.is_ended):
            return
        if stream.punched < stream.hole_end and not job.life.is_ended:
            # Nothing more is dropped before what was noted has made room.
            self._punch(job, stream)
            return
        try:
            cut = self._spared_until(job, stream, size - cap)
            stream.spared = cut < size - cap
            if stream.spared and cut - stream.noted < slack_of(cap):
                return
            cut = line_start(stream.path, cut, stream.noted)
            if not stream.noted:
                begin_note(stream.path)
            set_note(stream.path, cut)
        except OSError as error:
            self._complain(job, stream, error)
            return
        if not stream.noted:
            text = (
                f"{stream.name} has grown past {format_size(cap)}: from now on its oldest bytes are dropped"
            )
            self._record(job, text)
        stream.noted = cut
        if stream.name == "stdout":
            self._feeds.head_goes(job.id, cut, cap)
        self._punch(job, stream)

    def _spared_until(self, job: ManagedJob, stream: CappedStream, cut: int) -> int:
        """The cut, or an earlier one, so that no reader that is behind misses bytes.

        A pipe would have made the writer wait, and a default cap is easily forgotten. So the usual cap
        gives way as long as there is room on the disk; one that was given does not.
        """
        if job.spec.max_output != DEFAULT_MAX_OUTPUT or not self._has_room():
            return cut
        wanted = [first_claimed(stream.path)]
        if stream.name == "stdout":
            wanted.append(self._feeds.still_to_feed(job.id, DEFAULT_MAX_OUTPUT))
        return min([cut, *(max(stream.noted, offset) for offset in wanted if offset is not None)])

    def _has_room(self) -> bool:
        """Whether a tenth of the home's file system is free."""
        found = os.statvfs(self._home.jobs)
        return found.f_bavail * 10 >= found.f_blocks

    def note_shorter(self, job: ManagedJob, number: int, size: int) -> None:
        """Its file of that number was made as short as that, at most, and may have grown since."""
        capped = run_of(job).capped
        if capped and size < capped[number].noted:
            self._begin_anew(job, capped[number])

    def _begin_anew(self, job: ManagedJob, stream: CappedStream) -> None:
        """A writer has made the file shorter, as `> /dev/stdout` in a shell does: what comes now is new."""
        try:
            set_note(stream.path, 0)
        except OSError as error:
            self._complain(job, stream, error)
            return
        stream.noted = stream.punched = 0

    def _punch(self, job: ManagedJob, stream: CappedStream) -> None:
        """Have the hole made, as far as the note says."""
        end = stream.hole_end
        if stream.is_punching or end <= stream.punched:
            return
        try:
            descriptor = open_to_punch(stream.path)
        except OSError as error:
            self._complain(job, stream, error)
            return
        stream.is_punching = True
        start = stream.punched

        def work() -> None:
            error = punched(descriptor, start, end)
            try:
                self._loop.call_soon_threadsafe(self._note_punched, job, stream, start, end, error)
            except RuntimeError:
                return  # The loop has closed: the daemon is ending, and the next one punches as the note says.

        in_thread(work)

    def _note_punched(
        self, job: ManagedJob, stream: CappedStream, start: int, end: int, error: OSError | None
    ) -> None:
        stream.is_punching = False
        if error is None:
            stream.trouble = None
            stream.punched = max(stream.punched, end) if stream.noted else 0
            self._punched_since += end - start
        elif hole_punching.is_refusal(error):
            # Nothing was dropped, so nothing may count as dropped.
            stream.cannot = True
            self._take_back(job, stream, start)
        if error is not None:
            self._complain(job, stream, error)
        else:
            self._punch(job, stream)
        if self._table.started.get(job.id) is job and not job.life.is_ended:
            self._look_closely(job)

    def _take_back(self, job: ManagedJob, stream: CappedStream, noted: int) -> None:
        try:
            set_note(stream.path, noted)
        except OSError as error:
            self._complain(job, stream, error)
            return
        stream.noted = noted
        self._publish(job)

    def _complain(self, job: ManagedJob, stream: CappedStream, error: OSError) -> None:
        """Say once what keeps the output from being dropped. A file that is gone went with its job."""
        if isinstance(error, FileNotFoundError):
            return
        stream.cannot = stream.cannot or hole_punching.is_refusal(error)
        what = error.strerror or str(error)
        how = "all of it is kept" if stream.cannot else "tried again"
        text = f"{stream.name} is past its max output and its oldest bytes cannot be dropped: {what}; {how}"
        if stream.trouble != text:
            stream.trouble = text
            self._record(job, text)

    def _record(self, job: ManagedJob, text: str) -> None:
        self._journal.record(job.id, datetime.now(UTC), "output", text)


def _with_output(snapshot: Job, sizes: Sequence[int], noted: Sequence[int]) -> Job:
    """The snapshot of an ended job with these sizes and dropped bytes of stdout, then of stderr by stage."""
    stages = zip(snapshot.stages, sizes[1:], noted[1:], strict=True)
    return structs.replace(
        snapshot,
        stdout_bytes=sizes[0],
        stderr_bytes=sum(sizes[1:]),
        stdout_dropped_bytes=noted[0],
        stderr_dropped_bytes=sum(noted[1:]),
        stages=tuple(
            structs.replace(stage, stderr_bytes=size, stderr_dropped_bytes=dropped)
            for stage, size, dropped in stages
        ),
    )


def _noted(path: str) -> int:
    """What the note says; nothing where it is none, which the first cut will say."""
    try:
        return dropped_bytes(path) or 0
    except PermissionError:
        return 0
