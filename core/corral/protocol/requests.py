"""The protocol: one JSON object a line over a unix socket, typed. `corral.protocol.lines` encodes and decodes it.

A client sends `{"id": 7, "op": "list", …}`; the daemon answers `{"id": 7, "ok": {…}}` or
`{"id": 7, "error": {"kind": …, "message": …}}`, and to subscribers it pushes `{"event": …, "rev": …}`.
Of a long list lines with its first pieces, `{"id": 7, "part": […]}`, come before the answer, which has the last one.
Descriptors travel beside the line that needs them (SCM_RIGHTS). Output bytes never travel here.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, Literal, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from corral.model.batch import BatchInput, BatchSpec
from corral.model.history import RecentHistory
from corral.model.job import Job, ProcessView, State
from corral.model.reports import DaemonStatus, Detail, Diagnosis, OpenedInput, PeekedPipe, StopReport, Story
from corral.model.retention import CleanReport
from corral.model.spec import JobSpec, Origin, Surroundings
from corral.protocol.protocol_number import NEWEST_ENDED
from corral.protocol.protocol_number import PROTOCOL as PROTOCOL

# ---- replies; those that other parts of Corral use too are in `corral.model` --------------------------------------


class Done(Struct, frozen=True):
    """It was done."""


class Hello(Struct, frozen=True, kw_only=True):
    """The daemon's side of the greeting. Frozen, as `SayHello`: a client of any protocol number reads it."""

    version: str
    protocol: int
    pid: int
    home: str
    private: bool = False
    generation: int = 1
    """Incremented by each restart in place."""
    notices: tuple[str, ...] = ()
    """What a person should hear once, such as that a damaged journal was set aside: for the first command line."""


class Jobs(Struct, frozen=True):
    """Jobs, in the order asked for, else by id."""

    jobs: tuple[Job, ...]
    unknown: tuple[str, ...] = ()
    """One line for each reference that matches no job, or several."""
    leftovers: dict[str, int] = {}
    """Number of leftover processes by job id, of ended jobs that are not listed here.

    If references were given, only jobs with one of these names, which `stop` would include.
    """


class Started(Struct, frozen=True):
    """Jobs that were accepted, in the order of their specifications."""

    ids: tuple[str, ...]
    left: tuple[str, ...] = ()
    """What earlier jobs of the same names have left alive, a line for each job."""


class Stops(Struct, frozen=True):
    """One report a job."""

    reports: tuple[StopReport, ...]
    unknown: tuple[str, ...] = ()
    """One line for each reference that matches no job, or several."""
    titles: dict[str, str] = {}
    """Titles of the jobs in the reports, by id; if the daemon leaves its jobs, of those."""


class Processes(Struct, frozen=True):
    """The tree of one job, leaders first."""

    processes: tuple[ProcessView, ...]


class Pipes(Struct, frozen=True):
    """The pipes of one job."""

    pipes: tuple[PeekedPipe, ...]


class Outcome(Struct, frozen=True):
    """What one request did to several jobs: one line per job that was touched, one error per job that was not."""

    done: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    """Those of the errors that are about a reference that matches no job, or several."""


class Waited(Struct, frozen=True):
    """The jobs waited for, in the order named; with `any`, the first to end alone. `timed_out`: some had not ended."""

    jobs: tuple[Job, ...]
    timed_out: bool = False


LISTS: dict[type[Struct], tuple[str, type[Struct]]] = {
    Jobs: ("jobs", Job),
    Stops: ("reports", StopReport),
    Waited: ("jobs", Job),
}
"""Replies that may come in parts: the field that is one long list, and what that holds."""


class Fed(Struct, frozen=True):
    """How many inputs a batch has, and how many it has left out since they have succeeded before."""

    total: int
    left_out: int = 0


BatchPart = Literal["unended", "failed", "rest"]


class BatchJobs(Struct, frozen=True):
    """Jobs of one batch, and where the next page begins; None at the end."""

    jobs: tuple[Job, ...]
    next_page: tuple[int, int] | None = None


class RecentHistories(Struct, frozen=True):
    """`RecentHistory` by job id."""

    past: dict[str, RecentHistory]


# ---- requests -----------------------------------------------------------------------------------------------------

Reply_ = TypeVar("Reply_", bound=Struct)


def are_numbers(references: Sequence[str]) -> bool:
    return bool(references) and all(reference.isdecimal() for reference in references)


class Request(Struct, Generic[Reply_], tag_field="op", kw_only=True):
    """Base class of all requests; a subclass names the type of its reply, and says what both sides may do with it."""

    any_protocol: ClassVar[bool] = False
    """Its fields never change: a daemon takes it from a client of any protocol number, to be replaced or ended by it."""
    has_descriptors: ClassVar[bool] = False
    """The daemon keeps what comes beside it until it was answered."""
    is_repeatable: ClassVar[bool] = False
    """Sending it twice has the same effect and answer as once."""
    is_resumable: ClassVar[bool] = False
    """Its work is done, or the client can send the rest of it again."""

    def again(self, elapsed: float) -> Request[Reply_] | None:
        """The request that continues one sent `elapsed` seconds ago; None if repeating it might do it twice.

        Jobs must be given by number: a name or `@` may mean another job by now.
        """
        return self if self.is_repeatable else None

    @property
    def may_be_cut(self) -> bool:
        """Whether the daemon may exit before it has answered."""
        return self.is_repeatable or self.is_resumable


class SayHello(Request[Hello], tag="hello"):
    """First line of a connection. Its fields are frozen, as are those of `Hello`, `RestartDaemon` and `Shutdown`: they
    work across protocol numbers, so that a client can replace or end a daemon of another version.
    """

    any_protocol = is_resumable = True
    version: str
    protocol: int
    client: Origin
    parent: str | None = None
    """CORRAL_JOB_ID of the client, when it runs inside a job of this home."""
    parts: bool = False
    """Whether it accepts long lists in parts."""


class StartJobs(Request[Started], tag="start"):
    """Start jobs that share surroundings. A `DescriptorInput` uses the descriptor that comes with the line."""

    has_descriptors = True
    specs: tuple[JobSpec, ...]
    surroundings: Surroundings
    wait_started: bool = False
    """Answer only once each has started, is queued or could not start; the last is an error for a single job."""


class StartBatch(Request[Started], tag="start_batch"):
    """Start a batch. Its inputs follow (`FeedBatch`); if the connection ends before the last, what came is run.

    Answered with an error, and no batch, where its program is missing.
    """

    spec: BatchSpec
    surroundings: Surroundings


class FeedBatch(Request[Fed], tag="feed_batch"):
    """The next inputs of a batch, some thousands at most.

    `before`: how many were sent before these; those of them that the daemon has already are left out, so it may be sent again.
    """

    is_repeatable = True
    batch: str
    before: int
    inputs: tuple[BatchInput, ...] = ()
    is_last: bool = False
    most_waiting: int | None = None
    """Answer only once no more than so many inputs wait for their turn, or the batch has ended."""


class ListBatchJobs(Request[BatchJobs], tag="list_batch_jobs"):
    """Jobs of a batch that were started: those that have not ended, then the failed, then the rest, each by rising number.

    `parts` names which of these are wanted. `page_after` is what the last page gave; None begins.
    """

    is_repeatable = True
    batch: str
    parts: tuple[BatchPart, ...] = ("unended", "failed", "rest")
    limit: int = 500
    page_after: tuple[int, int] | None = None


class SetBatch(Request[Outcome], tag="set_batch"):
    """Change how many jobs of a batch run at a time: to `jobs`, or by `change`."""

    batch: str
    jobs: int | None = None
    change: int = 0


class ListJobs(Request[Jobs], tag="list"):
    """Jobs by id, name or `@`; without ids those that have not ended, or all. Unknown ones are named in the reply."""

    is_repeatable = True
    ids: tuple[str, ...] = ()
    all: bool = False
    states: tuple[State, ...] = ()
    """Only jobs in one of these; an earlier daemon lists the others too. Not with `ids`."""


class ShowJob(Request[Detail], tag="show"):
    """All of one job."""

    is_repeatable = True
    job: str


class AskWhy(Request[Diagnosis], tag="why"):
    """The diagnosis of a job; without one, of the most urgent.

    `stacks`: with those of its Python programs, which takes longer. `py_spy` is the one on the client's PATH.
    """

    is_repeatable = True
    job: str | None = None
    stacks: bool = False
    py_spy: str | None = None


class ListProcesses(Request[Processes], tag="processes"):
    """The tree of a job, scanned now."""

    is_repeatable = True
    job: str


class PeekPipes(Request[Pipes], tag="peek"):
    """The fill of a job's pipes, read now; with `bytes`, at most so many of those that stand in them."""

    is_repeatable = True
    job: str
    pipe: int | None = None
    bytes: int | None = None


class StopJobs(Request[Stops], tag="stop"):
    """Stop jobs. With `wait`, answered when nothing is left or nothing more helps; else at once.

    A name means all ended jobs too that were called so and have left something alive.
    """

    is_resumable = True
    ids: tuple[str, ...] = ()
    all: bool = False
    signal: str | None = None
    grace: float | None = None
    stage: int | None = None
    wait: bool = True
    by: str = "from the library"
    """Completes the reason `stopped …`, such as `from the dashboard` or `by Ctrl-C`."""
    asked_before: bool = False
    """Sent before to a daemon that went away: wait for a stop under way, and do not skip its grace."""

    def again(self, elapsed: float) -> StopJobs | None:
        return replace(self, asked_before=True) if are_numbers(self.ids) and not self.all else None


class AskStopping(Request[Stops], tag="stopping"):
    """How far the stop of these jobs is, or their last stop report."""

    is_repeatable = True
    ids: tuple[str, ...]


class SignalJobs(Request[Outcome], tag="signal"):
    """Send a signal, no more: to each stage's leader, the whole tree, one stage's processes, or one process."""

    ids: tuple[str, ...]
    signal: str
    tree: bool = False
    stage: int | None = None
    pid: int | None = None


class PauseJobs(Request[Outcome], tag="pause"):
    ids: tuple[str, ...]


class ResumeJobs(Request[Outcome], tag="resume"):
    ids: tuple[str, ...]


class RestartJobs(Request[Started], tag="restart"):
    """Run again with the same specification and surroundings; a running job is stopped first.

    `failed`: of batches only what did not succeed, as new batches.
    """

    ids: tuple[str, ...]
    failed: bool = False
    asked_at: float | None = None
    """When the same was sent to a daemon that went away, in seconds since the epoch: jobs that were restarted since then
    are not restarted again."""

    def again(self, elapsed: float) -> RestartJobs | None:
        # An absolute time: a daemon may have to start before this is read.
        asked_at = self.asked_at or time.time() - elapsed
        return replace(self, asked_at=asked_at) if are_numbers(self.ids) else None

    @property
    def may_be_cut(self) -> bool:
        return are_numbers(self.ids)


class WaitForJobs(Request[Waited], tag="wait"):
    """Answered when all (or, with `any`, one) have ended, or after `timeout` seconds.

    `swept`: then also wait for the leftovers of those that were started with `--leftovers stop` to be gone.
    """

    is_resumable = True
    ids: tuple[str, ...]
    any: bool = False
    timeout: float | None = None
    swept: bool = False

    def again(self, elapsed: float) -> WaitForJobs | None:
        timeout = None if self.timeout is None else max(0.0, self.timeout - elapsed)
        return replace(self, timeout=timeout) if are_numbers(self.ids) else None


class OpenInput(Request[OpenedInput], tag="open_input"):
    """A copy of the write end of an interactive job's stdin, or of its terminal's master, comes beside the reply."""

    is_repeatable = True
    job: str


class CloseInput(Request[Done], tag="close_input"):
    """Close the daemon's copy: EOF for the job once no other copy is open. On a terminal EOF is typed."""

    job: str


class RemoveJobs(Request[Outcome], tag="remove"):
    """Delete ended jobs with their output; with `force`, stop running ones first."""

    ids: tuple[str, ...]
    force: bool = False
    asked_before: bool = False
    """Sent before to a daemon that went away: a job that is not there any more was removed."""

    def again(self, elapsed: float) -> RemoveJobs | None:
        return replace(self, asked_before=True) if are_numbers(self.ids) else None


class CleanJobs(Request[CleanReport], tag="clean"):
    """Clean by the rules, or what is selected: ended longer ago, beyond the newest `keep`; with both, what is both.

    `plan`: only say what would go. `only` (first and last id of each range, rising) and `folders`: nothing else goes.
    """

    plan: bool = False
    older_than: float | None = None
    keep: int | None = None
    only: tuple[tuple[int, int], ...] | None = None
    folders: tuple[str, ...] | None = None


class HideJobs(Request[Outcome], tag="hide"):
    """Take ended jobs off the dashboards' lists; deletes nothing."""

    ids: tuple[str, ...]
    hidden: bool = True


class Subscribe(Request[Done], tag="subscribe"):
    """Push `snapshot` once, then `changed`, from now on."""

    is_repeatable = True
    ended: int = NEWEST_ENDED
    """How many of the newest ended jobs the snapshot holds."""
    queued: int | None = None
    """How many of the queued jobs are told of, those whose turn comes first, besides a few of the newest; None: all. To ask again for more is a new
    subscription."""


class WatchJobs(Request[Done], tag="look"):
    """These jobs are on a screen: sample them every tick."""

    is_repeatable = True
    ids: tuple[str, ...]


class AskRecentHistory(Request[RecentHistories], tag="history"):
    """Recent CPU, memory and so on of these jobs, for the sparklines of a newly opened dashboard."""

    is_repeatable = True
    ids: tuple[str, ...]


class AskStory(Request[Story], tag="story"):
    """The last diagnosis of a job, running or ended, and its CPU and memory over its life."""

    is_repeatable = True
    job: str


class AskStatus(Request[DaemonStatus], tag="status"):
    """The daemon itself."""

    is_repeatable = True


class Shutdown(Request[Stops], tag="shutdown"):
    """End the daemon. `jobs` None: refused while jobs run. `leave` leaves them running, unwatched. Frozen, as `SayHello`."""

    any_protocol = True
    jobs: Literal["stop", "leave"] | None = None

    def again(self, elapsed: float) -> Shutdown | None:
        return self if self.jobs == "stop" else None


class RestartDaemon(Request[Done], tag="restart_daemon"):
    """Become the program of the daemon in another Python, in place. Frozen, as `SayHello`.

    Answered with an error, or by the new program on the pipe whose write end comes beside the line: `ready`, or why not.
    """

    any_protocol = has_descriptors = True
    program: str
    """Path of the Python, in wire form."""
    environment: dict[str, str] = {}
    """That of the new program, in wire form."""
    reads: int = 1
    """The newest `HANDOVER` that it reads. Programs that do not say so yet read the first."""


REQUESTS: tuple[type[Request[Any]], ...] = tuple(Request.__subclasses__())
