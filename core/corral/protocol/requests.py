"""The protocol: one JSON object a line over a unix socket, typed.

A client sends `{"id": 7, "op": "list", …}`; the daemon answers `{"id": 7, "ok": {…}}` or
`{"id": 7, "error": {"kind": …, "message": …}}`, and to subscribers it pushes `{"event": …, "rev": …}`.
Of a long list lines with its first pieces, `{"id": 7, "part": […]}`, come before the answer, which has the last one.
Descriptors travel beside the line that needs them (SCM_RIGHTS). Output bytes never travel here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Generic, Literal, TypeVar

import msgspec
from msgspec import Struct

from corral.model.errors import ERRORS, BadLineError, CannotStartError, CorralError
from corral.model.history import RecentHistory as RecentHistory
from corral.model.job import Job
from corral.model.machine import Machine
from corral.model.reports import DaemonStatus, Detail, Diagnosis, OpenedInput
from corral.model.reports import Story as Story
from corral.model.retention import CleanReport
from corral.model.spec import JobSpec, Origin, Surroundings
from corral.model.wire import to_wire
from corral.protocol.protocol_number import NEWEST_ENDED
from corral.protocol.protocol_number import PROTOCOL as PROTOCOL
from corral.protocol.replies import LISTS
from corral.protocol.replies import Done as Done
from corral.protocol.replies import Hello as Hello
from corral.protocol.replies import Jobs as Jobs
from corral.protocol.replies import Outcome as Outcome
from corral.protocol.replies import Pipes as Pipes
from corral.protocol.replies import Processes as Processes
from corral.protocol.replies import RecentHistories as RecentHistories
from corral.protocol.replies import Started as Started
from corral.protocol.replies import Stops as Stops
from corral.protocol.replies import Waited as Waited

LINE_LIMIT = 16 << 20
"""Bytes in a line to the daemon, the newline included. A longer one is answered with an error and skipped.

Of the 2 MiB that a program is usually given at most (execve(2)) each byte may be six in JSON; of the 6 MiB that it can
be given with a larger stack, text is little more.
"""
REPLY_LIMIT = 64 << 20
"""Bytes in a line from the daemon. Long lists come in several."""

Reply_ = TypeVar("Reply_", bound=Struct)


class Answers(Generic[Reply_]):
    """The type of the reply to a request, for the type checker; `reply` is the same for the decoder."""

    reply: ClassVar[type[Struct]]


# ---- requests -----------------------------------------------------------------------------------------------------


class Request(Struct, tag_field="op", kw_only=True):
    """Base class of all requests."""


class SayHello(Request, Answers[Hello], tag="hello"):
    """First line of a connection. Its fields are frozen, as are those of `Hello`, `RestartDaemon` and `Shutdown`: they
    work across protocol numbers, so that a client can replace or end a daemon of another version.
    """

    reply: ClassVar[type[Struct]] = Hello
    version: str
    protocol: int
    client: Origin
    parent: str | None = None
    """CORRAL_JOB_ID of the client, when it runs inside a job of this home."""
    parts: bool = False
    """Whether it accepts long lists in parts."""


class StartJobs(Request, Answers[Started], tag="start"):
    """Start jobs that share surroundings. A `DescriptorInput` uses the descriptor that comes with the line."""

    reply: ClassVar[type[Struct]] = Started
    specs: tuple[JobSpec, ...]
    surroundings: Surroundings
    wait_started: bool = False
    """Answer only once each has started, is queued or could not start; the last is an error for a single job."""


class ListJobs(Request, Answers[Jobs], tag="list"):
    """Jobs by id, name or `@`; without ids those that have not ended, or all. Unknown ones are named in the reply."""

    reply: ClassVar[type[Struct]] = Jobs
    ids: tuple[str, ...] = ()
    all: bool = False


class ShowJob(Request, Answers[Detail], tag="show"):
    """All of one job."""

    reply: ClassVar[type[Struct]] = Detail
    job: str


class AskWhy(Request, Answers[Diagnosis], tag="why"):
    """The diagnosis of a job; without one, of the most urgent.

    `stacks`: with those of its Python programs, which takes longer. `py_spy` is the one on the client's PATH.
    """

    reply: ClassVar[type[Struct]] = Diagnosis
    job: str | None = None
    stacks: bool = False
    py_spy: str | None = None


class ListProcesses(Request, Answers[Processes], tag="processes"):
    """The tree of a job, scanned now."""

    reply: ClassVar[type[Struct]] = Processes
    job: str


class PeekPipes(Request, Answers[Pipes], tag="peek"):
    """The fill of a job's pipes, read now; with `bytes`, at most so many of those that stand in them."""

    reply: ClassVar[type[Struct]] = Pipes
    job: str
    pipe: int | None = None
    bytes: int | None = None


class StopJobs(Request, Answers[Stops], tag="stop"):
    """Stop jobs. With `wait`, answered when nothing is left or nothing more helps; else at once.

    A name means all ended jobs too that were called so and have left something alive.
    """

    reply: ClassVar[type[Struct]] = Stops
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


class AskStopping(Request, Answers[Stops], tag="stopping"):
    """How far the stop of these jobs is, or their last stop report."""

    reply: ClassVar[type[Struct]] = Stops
    ids: tuple[str, ...]


class SignalJobs(Request, Answers[Outcome], tag="signal"):
    """Send a signal, no more: to each stage's leader, the whole tree, one stage's processes, or one process."""

    reply: ClassVar[type[Struct]] = Outcome
    ids: tuple[str, ...]
    signal: str
    tree: bool = False
    stage: int | None = None
    pid: int | None = None


class PauseJobs(Request, Answers[Outcome], tag="pause"):
    reply: ClassVar[type[Struct]] = Outcome
    ids: tuple[str, ...]


class ResumeJobs(Request, Answers[Outcome], tag="resume"):
    reply: ClassVar[type[Struct]] = Outcome
    ids: tuple[str, ...]


class RestartJobs(Request, Answers[Started], tag="restart"):
    """Run again with the same specification and surroundings; a running job is stopped first."""

    reply: ClassVar[type[Struct]] = Started
    ids: tuple[str, ...]
    asked_at: float | None = None
    """When the same was sent to a daemon that went away, in seconds since the epoch: jobs that were restarted since then
    are not restarted again."""


class WaitForJobs(Request, Answers[Waited], tag="wait"):
    """Answered when all (or, with `any`, one) have ended, or after `timeout` seconds.

    `swept`: then also wait for the leftovers of those that were started with `--leftovers stop` to be gone.
    """

    reply: ClassVar[type[Struct]] = Waited
    ids: tuple[str, ...]
    any: bool = False
    timeout: float | None = None
    swept: bool = False


class OpenInput(Request, Answers[OpenedInput], tag="open_input"):
    """A copy of the write end of an interactive job's stdin, or of its terminal's master, comes beside the reply."""

    reply: ClassVar[type[Struct]] = OpenedInput
    job: str


class CloseInput(Request, Answers[Done], tag="close_input"):
    """Close the daemon's copy: EOF for the job once no other copy is open. On a terminal EOF is typed."""

    reply: ClassVar[type[Struct]] = Done
    job: str


class RemoveJobs(Request, Answers[Outcome], tag="remove"):
    """Delete ended jobs with their output; with `force`, stop running ones first."""

    reply: ClassVar[type[Struct]] = Outcome
    ids: tuple[str, ...]
    force: bool = False
    asked_before: bool = False
    """Sent before to a daemon that went away: a job that is not there any more was removed."""


class CleanJobs(Request, Answers[CleanReport], tag="clean"):
    """Clean by the rules, or what is selected: ended longer ago, beyond the newest `keep`; with both, what is both.

    `plan`: only say what would go. `only` (first and last id of each range, rising) and `folders`: nothing else goes.
    """

    reply: ClassVar[type[Struct]] = CleanReport
    plan: bool = False
    older_than: float | None = None
    keep: int | None = None
    only: tuple[tuple[int, int], ...] | None = None
    folders: tuple[str, ...] | None = None


class HideJobs(Request, Answers[Outcome], tag="hide"):
    """Take ended jobs off the dashboards' lists; deletes nothing."""

    reply: ClassVar[type[Struct]] = Outcome
    ids: tuple[str, ...]
    hidden: bool = True


class Subscribe(Request, Answers[Done], tag="subscribe"):
    """Push `snapshot` once, then `changed`, from now on."""

    reply: ClassVar[type[Struct]] = Done
    ended: int = NEWEST_ENDED
    """How many of the newest ended jobs the snapshot holds."""


class WatchJobs(Request, Answers[Done], tag="look"):
    """These jobs are on a screen: sample them every tick."""

    reply: ClassVar[type[Struct]] = Done
    ids: tuple[str, ...]


class AskRecentHistory(Request, Answers[RecentHistories], tag="history"):
    """Recent CPU, memory and so on of these jobs, for the sparklines of a newly opened dashboard."""

    reply: ClassVar[type[Struct]] = RecentHistories
    ids: tuple[str, ...]


class AskStory(Request, Answers[Story], tag="story"):
    """The last diagnosis of a job, running or ended, and its CPU and memory over its life."""

    reply: ClassVar[type[Struct]] = Story
    job: str


class AskStatus(Request, Answers[DaemonStatus], tag="status"):
    """The daemon itself."""

    reply: ClassVar[type[Struct]] = DaemonStatus


class Shutdown(Request, Answers[Stops], tag="shutdown"):
    """End the daemon. `jobs` None: refused while jobs run. `leave` leaves them running, unwatched. Frozen, as `SayHello`."""

    reply: ClassVar[type[Struct]] = Stops
    jobs: Literal["stop", "leave"] | None = None


class RestartDaemon(Request, Answers[Done], tag="restart_daemon"):
    """Become the program of the daemon in another Python, in place. Frozen, as `SayHello`.

    Answered with an error, or by the new program on the pipe whose write end comes beside the line: `ready`, or why not.
    """

    reply: ClassVar[type[Struct]] = Done
    program: str
    """Path of the Python, in wire form."""
    environment: dict[str, str] = {}
    """That of the new program, in wire form."""
    reads: int = 1
    """The newest `HANDOVER` that it reads. Programs that do not say so yet read the first."""


AnyRequest = (
    SayHello
    | StartJobs
    | ListJobs
    | ShowJob
    | AskWhy
    | ListProcesses
    | PeekPipes
    | StopJobs
    | AskStopping
    | SignalJobs
    | PauseJobs
    | ResumeJobs
    | RestartJobs
    | WaitForJobs
    | OpenInput
    | CloseInput
    | RemoveJobs
    | CleanJobs
    | HideJobs
    | Subscribe
    | WatchJobs
    | AskRecentHistory
    | AskStory
    | AskStatus
    | Shutdown
    | RestartDaemon
)


# ---- pushes -------------------------------------------------------------------------------------------------------


class SnapshotPushed(Struct, frozen=True, tag="snapshot", tag_field="event", kw_only=True):
    """All jobs, after `Subscribe`."""

    rev: int
    jobs: tuple[Job, ...]
    machine: Machine | None = None
    more: bool = False
    """It is incomplete: the rest follows as changes, until one has `more` false."""


class ChangesPushed(Struct, frozen=True, tag="changed", tag_field="event", kw_only=True):
    """What changed since the last push."""

    rev: int
    jobs: tuple[Job, ...] = ()
    removed: tuple[str, ...] = ()
    machine: Machine | None = None
    more: bool = False
    """As in a snapshot."""


class Leaving(Struct, frozen=True, tag="leaving", tag_field="event", kw_only=True):
    """To every client, before the daemon disconnects: requests without an answer that are not in `taken` were never read."""

    why: Literal["restart", "end", "stay"]
    """`end`: ended on purpose, so that clients start no other. `stay`: it does not disconnect after all."""
    taken: tuple[int, ...] = ()


Push = SnapshotPushed | ChangesPushed


# ---- lines --------------------------------------------------------------------------------------------------------


class ErrorBody(Struct, frozen=True, omit_defaults=True):
    """An error on its way to the client."""

    kind: str
    message: str
    status: int | None = None
    job: str | None = None

    @classmethod
    def of(cls, error: CorralError) -> ErrorBody:
        if isinstance(error, CannotStartError):
            return cls(error.kind, to_wire(str(error)), error.status, error.job)
        return cls(error.kind, to_wire(str(error)))

    def as_error(self) -> CorralError:
        if self.kind == CannotStartError.kind:
            return CannotStartError(self.message, self.status or 125, self.job)
        return ERRORS.get(self.kind, CorralError)(self.message)


class Envelope(Struct):
    """The part of a line that a client decodes first."""

    id: int | None = None
    ok: msgspec.Raw = msgspec.Raw()
    error: ErrorBody | None = None
    event: str | None = None
    part: msgspec.Raw = msgspec.Raw()
    """A piece of a list whose answer is still to come."""
    before: tuple[msgspec.Raw, ...] = ()
    """The pieces that came before this answer; `corral.protocol.long_lists` fills it in."""


class RequestId(Struct):
    """The id of a request, read before the rest so that a bad request can be answered."""

    id: int


_encoder = msgspec.json.Encoder()
_envelopes = msgspec.json.Decoder(Envelope)
_request_ids = msgspec.json.Decoder(RequestId)
_requests: msgspec.json.Decoder[AnyRequest] = msgspec.json.Decoder(AnyRequest)
_pushes: msgspec.json.Decoder[Push] = msgspec.json.Decoder(Push)
_leavings = msgspec.json.Decoder(Leaving)
_replies: dict[type[Struct], msgspec.json.Decoder[Struct]] = {}


def request_line(number: int, request: Request) -> bytes:
    """One request as a line. Raises CorralError where it is longer than a line may be, for a start CannotStartError."""
    body = _encoder.encode(request)
    line = b'{"id":%d,' % number + body[1:] + b"\n"
    if len(line) <= LINE_LIMIT:
        return line
    what = f"request of {len(line):,} bytes: at most {LINE_LIMIT:,} fit in one"
    if isinstance(request, StartJobs):
        raise CannotStartError(
            f"{what}, and the kernel takes at most 6,291,456 bytes of arguments and environment (execve(2)):"
            " give them by a file or stdin, or to several runs",
            126,
        )
    raise CorralError(f"{what}; send it in parts")


def reply_line(number: int, reply: Struct) -> bytes:
    """Raises CorralError where it is longer than a line may be."""
    line = b'{"id":%d,"ok":' % number + _encoder.encode(reply) + b"}\n"
    if len(line) > REPLY_LIMIT:
        raise CorralError(
            f"the answer has {len(line)} bytes, more than the {REPLY_LIMIT} that this client takes"
        )
    return line


def error_line(number: int | None, error: CorralError) -> bytes:
    head = b"null" if number is None else b"%d" % number
    return b'{"id":' + head + b',"error":' + _encoder.encode(ErrorBody.of(error)) + b"}\n"


def push_line(push: Push | Leaving) -> bytes:
    return _encoder.encode(push) + b"\n"


def read_request(line: bytes) -> tuple[int, AnyRequest]:
    """The id and the request of a line. Raises BadLineError, which carries `number` where the id could be read."""
    number: int | None = None
    try:
        number = _request_ids.decode(line).id
        return number, _requests.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        problem = BadLineError(f"not a request: {error}")
        problem.number = number
        raise problem from None


def read_envelope(line: bytes) -> Envelope:
    return _envelopes.decode(line)


def read_push(line: bytes) -> Push:
    return _pushes.decode(line)


def read_leaving(line: bytes) -> Leaving:
    return _leavings.decode(line)


def read_reply(envelope: Envelope, request: Answers[Reply_]) -> Reply_:
    """The typed reply to `request`. Raises the error where that is the answer."""
    if envelope.error is not None:
        raise envelope.error.as_error()
    kind = request.reply
    decoder = _replies.get(kind)
    if decoder is None:
        decoder = _replies[kind] = msgspec.json.Decoder(kind)
    reply = decoder.decode(envelope.ok)
    return _joined(envelope.before, reply) if envelope.before else reply  # type: ignore[return-value]


def _joined(pieces: Sequence[msgspec.Raw], reply: Struct) -> Struct:
    """The reply with all of its list."""
    name, kind = LISTS[type(reply)]
    decoder = msgspec.json.Decoder(tuple[kind, ...])  # type: ignore[valid-type]
    items = [item for piece in pieces for item in decoder.decode(piece)]
    return msgspec.structs.replace(reply, **{name: (*items, *getattr(reply, name))})
