"""Scenarios run against a daemon whose nth call fails, and what must hold afterwards."""

from __future__ import annotations

import collections
import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from corral.client.blocking import Client
from corral.client.environment import surroundings
from corral.model.errors import CorralError
from corral.model.job import Job
from corral.model.spec import DescriptorInput, InteractiveInput, JobInput
from corral.protocol import requests as p
from e2e.daemons import Daemons, spec
from managers import marked
from reliability.injected_daemon import TARGETS, Control, Target
from until import ZOO, until

PATIENCE = 10
STUBBORN_PATIENCE = 1.5
"""For answers that cannot come while every call fails, such as the proof of a stop."""
DAEMONS_FAULT = "the daemon failed at"
"""Said of an error that nobody expected: in these runs every error is expected."""
IN_PLAIN_WORDS = re.compile(
    r"descriptor|no space|quota|disk|memory|process|thread|journal|could not be read any further|stopped",
    re.I,
)


class Broken(AssertionError):
    """Something did not hold."""


def demand(condition: object, what: str) -> None:
    if not condition:
        raise Broken(what)


@dataclass
class Expected:
    """A job that was asked for: its id, and what its output is where it succeeds."""

    id: str
    stdout: bytes | None = b""
    """None: whatever it is."""
    state: str = "succeeded"
    exit_status: int | None = 0
    file: Path | None = None
    file_content: bytes = b""


@dataclass
class Attempt:
    """What one run of a scenario met."""

    directory: Path
    patience: float = PATIENCE
    jobs: list[Expected] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@contextlib.contextmanager
def failing_daemon(path: Path) -> Iterator[tuple[Daemons, Control]]:
    """A daemon with stand-ins for its system calls; ended, with all that it started, afterwards."""
    path.mkdir(parents=True, exist_ok=True)
    daemons = Daemons(path / "home")
    control = Control(str(path / "control"), make=True)
    program = os.path.join(os.path.dirname(__file__), "injected_daemon.py")
    argv = [sys.executable, program, daemons.home.path, str(path / "control")]
    with (
        open(path / "daemon.log", "ab") as log,
        subprocess.Popen(
            argv, start_new_session=True, stdout=log, stderr=log, stdin=subprocess.DEVNULL
        ) as process,
    ):
        until(lambda: os.path.exists(daemons.home.socket) or process.poll() is not None, "it to listen")
        try:
            yield daemons, control
        finally:
            control.disarm()
            with contextlib.suppress(CorralError, OSError), daemons.client(start=False) as client:
                client.call(p.Shutdown(jobs="stop"), timeout=PATIENCE)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                print("  the daemon did not end", flush=True)
                process.kill()


# ---- asking -------------------------------------------------------------------------------------------------------


def ask(client: Client, attempt: Attempt, request: p.Request, descriptors: tuple[int, ...] = ()) -> object:
    """The reply, or None where it was refused; the refusal must be one in plain words."""
    try:
        return client.call(request, descriptors, timeout=attempt.patience)  # type: ignore[arg-type]
    except CorralError as error:
        attempt.errors.append(str(error))
        return None


def begin(
    client: Client,
    attempt: Attempt,
    command: str | list[str],
    expected: Expected | None = None,
    descriptors: tuple[int, ...] = (),
    **fields: object,
) -> str | None:
    """Start one job; None where it was refused, which shows in its own state or in the answer."""
    request = p.StartJobs(
        specs=(spec(command, **fields),), surroundings=surroundings(cwd=str(attempt.directory))
    )
    reply = ask(client, attempt, request, descriptors)
    if not isinstance(reply, p.Started):
        return None
    expected = expected or Expected("")
    expected.id = reply.ids[0]
    attempt.jobs.append(expected)
    return expected.id


def wait_for(client: Client, attempt: Attempt, *ids: str | None) -> None:
    known = tuple(each for each in ids if each is not None)
    if known:
        ask(client, attempt, p.WaitForJobs(ids=known, timeout=PATIENCE))


# ---- scenarios ----------------------------------------------------------------------------------------------------


def pipeline(client: Client, attempt: Attempt) -> None:
    """Three stages, a file that is written, one that is appended to."""
    target = attempt.directory / "sorted"
    target.unlink(missing_ok=True)
    expected = Expected("", file=target, file_content=b"a\nb\n")
    one = begin(client, attempt, "printf 'b\\na\\n' | cat | sort > sorted 2> /dev/null", expected)
    wait_for(client, attempt, one)


def plain(client: Client, attempt: Attempt) -> None:
    """A status of its own, and both streams."""
    script = ["sh", "-c", "echo out; echo err >&2; exit 3"]
    one = begin(client, attempt, script, Expected("", b"out\n", "failed", 3))
    two = begin(client, attempt, "echo two", Expected("", b"two\n"))
    wait_for(client, attempt, one, two)


def fed(client: Client, attempt: Attempt) -> None:
    """Fed from another job's output."""
    one = begin(client, attempt, ["seq", "20000"], Expected("", _numbers()))
    if one is None:
        return
    wait_for(client, attempt, one)
    two = begin(client, attempt, "cat", Expected("", _numbers()), stdin=JobInput(one))
    if two is not None:
        source = _view(client, attempt, one)
        if source is None or source.state != "succeeded":
            # It was ended half way, so what there is of it is fed.
            attempt.jobs[-1].stdout = None
    wait_for(client, attempt, two)


def interactive(client: Client, attempt: Attempt) -> None:
    """An open stdin, written to through a descriptor that the daemon passes."""
    expected = Expected("", b"hello\n")
    one = begin(client, attempt, "cat", expected, stdin=InteractiveInput())
    if one is None:
        return
    if ask(client, attempt, p.OpenInput(job=one)) is not None:
        for descriptor in client.received_descriptors():
            os.write(descriptor, b"hello\n")
            os.close(descriptor)
    else:
        expected.stdout = b""
    ask(client, attempt, p.CloseInput(job=one))
    wait_for(client, attempt, one)


def passed(client: Client, attempt: Attempt) -> None:
    """The client's own stdin, passed as a descriptor."""
    reader, writer = os.pipe()
    os.write(writer, b"passed\n")
    os.close(writer)
    try:
        one = begin(client, attempt, "cat", Expected("", b"passed\n"), (reader,), stdin=DescriptorInput())
    finally:
        os.close(reader)
    wait_for(client, attempt, one)


def fifo(client: Client, attempt: Attempt) -> None:
    """Two jobs that meet at a FIFO, whose opening waits in a process of its own."""
    path = attempt.directory / "fifo"
    if not path.exists():
        os.mkfifo(path)
    one = begin(client, attempt, "cat < fifo", Expected("", b"through\n"))
    two = begin(client, attempt, "echo through > fifo")
    if one is None or two is None:
        attempt.jobs[-1:] = [Expected(each.id, state="any") for each in attempt.jobs[-1:]]
        return
    reply = ask(client, attempt, p.WaitForJobs(ids=(one, two), any=True, timeout=PATIENCE))
    first = reply.jobs[0] if isinstance(reply, p.Waited) and reply.jobs else None
    if first is None or first.state != "succeeded":
        # The other would wait at its end for ever, as in a shell.
        attempt.jobs = [Expected(each.id, state="any") for each in attempt.jobs]
        return
    wait_for(client, attempt, one, two)


def stopping(client: Client, attempt: Attempt) -> None:
    """A tree that ignores TERM and one that escapes, ended."""
    stubborn = [sys.executable, "-S", "-E", os.path.join(ZOO, "ignores_term.py")]
    one = begin(client, attempt, stubborn, Expected("", state="stopped", exit_status=None))
    two = begin(client, attempt, "sleep 300 | sleep 300", Expected("", state="stopped", exit_status=None))
    ids = tuple(each for each in (one, two) if each)
    if ids:
        ask(client, attempt, p.StopJobs(ids=ids, grace=0.05, wait=True))


def looking(client: Client, attempt: Attempt) -> None:
    """Everything that only looks, at a pipeline that runs."""
    one = begin(client, attempt, "sleep 300 | cat", Expected("", state="stopped", exit_status=None))
    if one is None:
        return
    for request in (
        p.ListJobs(),
        p.ListJobs(all=True),
        p.ShowJob(job=one),
        p.ListProcesses(job=one),
        p.AskWhy(job=one),
        p.PeekPipes(job=one),
        p.AskStatus(),
        p.AskRecentHistory(ids=(one,)),
        p.AskStory(job=one),
        p.WatchJobs(ids=(one,)),
    ):
        ask(client, attempt, request)
    for request in (
        p.PauseJobs(ids=(one,)),
        p.ResumeJobs(ids=(one,)),
        p.SignalJobs(ids=(one,), signal="CONT"),
    ):
        ask(client, attempt, request)
    ask(client, attempt, p.StopJobs(ids=(one,), grace=0.5))


def tidying(client: Client, attempt: Attempt) -> None:
    """Run again, hide, remove, a time limit."""
    one = begin(client, attempt, "echo once", Expected("", b"once\n"))
    wait_for(client, attempt, one)
    if one is not None:
        again = ask(client, attempt, p.RestartJobs(ids=(one,)))
        if isinstance(again, p.Started):
            attempt.jobs.append(Expected(again.ids[0], b"once\n"))
            wait_for(client, attempt, again.ids[0])
        ask(client, attempt, p.HideJobs(ids=(one,)))
        outcome = ask(client, attempt, p.RemoveJobs(ids=(one,)))
        if not isinstance(outcome, p.Outcome) or outcome.done:
            # Its output goes first, so one that could not be noted to be gone may be gone.
            attempt.jobs = [each for each in attempt.jobs if each.id != one]
    late = begin(client, attempt, "sleep 300", Expected("", state="timed_out", exit_status=124), timeout=0.02)
    wait_for(client, attempt, late)


def subscribing(client: Client, attempt: Attempt) -> None:
    """A second client that subscribes while a job comes and goes."""
    with (
        contextlib.suppress(CorralError, OSError),
        Client.connect(client_home(client), start=False) as second,
    ):
        second.call(p.Subscribe(ended=5), timeout=5)
    one = begin(client, attempt, "echo seen", Expected("", b"seen\n"))
    wait_for(client, attempt, one)


SCENARIOS: tuple[Callable[[Client, Attempt], None], ...] = (
    plain, pipeline, fed, interactive, passed, fifo, stopping, looking, tidying, subscribing,
)  # fmt: skip


def client_home(client: Client) -> object:
    from corral.model.home import Home

    return Home(client.hello.home)


def _numbers() -> bytes:
    return b"".join(b"%d\n" % number for number in range(1, 20001))


def _view(client: Client, attempt: Attempt, job_id: str) -> Job | None:
    reply = ask(client, attempt, p.ListJobs(ids=(job_id,)))
    return reply.jobs[0] if isinstance(reply, p.Jobs) and reply.jobs else None


# ---- what must hold -----------------------------------------------------------------------------------------------


def check_attempt(daemons: Daemons, attempt: Attempt, pid: int, failures: int) -> None:
    """Nothing fails any more. The daemon is the same, each job has an account, and nothing claims what is not so."""
    with daemons.client(start=False) as client:
        demand(client.hello.pid == pid, "another daemon answers")
        for error in attempt.errors:
            demand(DAEMONS_FAULT not in error, f"an error that nobody expected: {error}")
            demand(failures or attempt.patience < PATIENCE, f"refused without a fault: {error}")
        for expected in attempt.jobs:
            _check_job(client, daemons, expected, failures)
        begun = client.call(
            p.StartJobs(specs=(spec("echo next"),), surroundings=surroundings()), timeout=PATIENCE
        )
        (last,) = client.call(p.WaitForJobs(ids=begun.ids, timeout=PATIENCE), timeout=2 * PATIENCE).jobs
        out = Path(daemons.home.stdout(last.id)).read_bytes()
        demand(
            (last.state, out) == ("succeeded", b"next\n"),
            f"the next job: {last.state}, {last.reason}, {out!r}",
        )
        ids = tuple(expected.id for expected in attempt.jobs)
        client.call(p.RemoveJobs(ids=(*ids, last.id), force=True), timeout=PATIENCE)


def _check_job(client: Client, daemons: Daemons, expected: Expected, failures: int) -> None:
    waited = client.call(p.WaitForJobs(ids=(expected.id,), timeout=0.5), timeout=PATIENCE)
    if waited.timed_out:
        demand(failures, f"job {expected.id} did not end")
        (report,) = client.call(p.StopJobs(ids=(expected.id,), grace=0.2), timeout=PATIENCE).reports
        demand(report.nothing_is_left, f"job {expected.id} could not be stopped: {report}")
        waited = client.call(p.WaitForJobs(ids=(expected.id,), timeout=PATIENCE), timeout=2 * PATIENCE)
    (job,) = waited.jobs
    demand(job.is_ended, f"job {job.id} is {job.state}")
    if expected.state == "any" or job.state == "stopped":
        return
    if job.state == expected.state and expected.exit_status in (None, job.exit_status):
        out = Path(daemons.home.stdout(job.id)).read_bytes()
        demand(
            expected.stdout in (None, out), f"job {job.id} ({job.command}) is {job.state} with {out[:80]!r}"
        )
        if expected.file is not None:
            demand(
                expected.file.read_bytes() == expected.file_content,
                f"job {job.id} is {job.state} with another file: {expected.file.read_bytes()!r}",
            )
        return
    demand(failures, f"job {job.id} ({job.command}) is {job.state}: {job.reason}, without a fault")
    demand(
        job.state == "failed" and job.exit_status == 125,
        f"job {job.id} is {job.state} {job.exit_status}: {job.reason}",
    )
    reason = job.reason or ""
    demand(DAEMONS_FAULT not in reason, f"job {job.id}: {reason}")
    demand(IN_PLAIN_WORDS.search(reason), f"job {job.id} does not name what was lacking: {reason}")


@dataclass
class Tally:
    """What was injected, and what it met."""

    injected: int = 0
    places: set[tuple[str, str]] = field(default_factory=set)
    broken: list[str] = field(default_factory=list)


class Injector:
    """Runs each scenario with each failure at the first, second, … call, until the run no longer makes that many."""

    def __init__(self, directory: Path) -> None:
        self._root = directory
        self._directory = directory / "work"
        self._directory.mkdir()
        self.tally = Tally()
        self._ended_after = contextlib.ExitStack()
        self._count = 0

    def __enter__(self) -> Injector:
        self._begin()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended_after.close()

    def _begin(self) -> None:
        """A daemon that has met no fault yet."""
        self._ended_after.close()
        self._count += 1
        daemon = failing_daemon(self._root / f"daemon-{self._count}")
        self._daemons, self._control = self._ended_after.enter_context(daemon)
        self._pid = self._daemons.pid()
        self._warm_up()

    def _warm_up(self) -> None:
        """Each scenario without a fault: what is allocated once is allocated, and the baseline is known."""
        for scenario in SCENARIOS:
            attempt = Attempt(self._directory)
            with self._daemons.client(start=False) as client:
                scenario(client, attempt)
            check_attempt(self._daemons, attempt, self._pid, 0)
        self._descriptors = self._settled()
        self._files = collections.Counter(self._files_open())

    def _files_open(self) -> list[str]:
        folder = f"/proc/{self._pid}/fd"
        names = []
        for number in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):
                names.append(os.readlink(f"{folder}/{number}"))
        # A second connection, of the thread that looks for old jobs: SQLite keeps its descriptor for the next one.
        return [name for name in names if not name.endswith("/corral.db")]

    def _open_descriptors(self) -> int:
        return len(self._files_open())

    def _settled(self) -> int:
        until(lambda: not marked(self._daemons.nonce()), "every process of the jobs to be gone", seconds=5)
        counts = [self._open_descriptors()]

        def is_steady() -> bool:
            counts.append(self._open_descriptors())
            return len(counts) > 20 and len(set(counts[-20:])) == 1

        until(is_steady, "the daemon's descriptors to stay the same")
        return counts[-1]

    def run(
        self, scenario: Callable[[Client, Attempt], None], number: int, failure: int, *, stays: bool
    ) -> None:
        """The 1st, 2nd, … call of one target."""
        nth = 1
        while self._strike(scenario, number, failure, nth, stays=stays):
            # Where every later call fails too, the early ones tell the most.
            nth += max(1, nth // 3) if stays else 1

    def _strike(
        self, scenario: Callable[[Client, Attempt], None], number: int, failure: int, nth: int, *, stays: bool
    ) -> bool:
        attempt = Attempt(self._directory, STUBBORN_PATIENCE if stays else PATIENCE)
        target = TARGETS[number]
        what = f"{scenario.__name__}: {target.name} {failure_name(target, failure)} at call {nth}" + (
            " and all later" if stays else ""
        )
        places: list[str] = []
        try:
            fired, places = self._attempt(scenario, attempt, number, failure, nth, stays=stays)
            check_attempt(self._daemons, attempt, self._pid, fired)
            self._check_leaks()
        except (AssertionError, CorralError, OSError) as error:
            self._control.disarm()
            self.tally.broken.append(f"{what} ({'; '.join(places[:3])}): {type(error).__name__}: {error}")
            print("  BROKEN", self.tally.broken[-1], flush=True)
            self._begin()
            return nth < 200
        if fired:
            self.tally.injected += fired
            self.tally.places |= {(target.name, place) for place in places}
        return bool(fired)

    def _attempt(
        self,
        scenario: Callable[[Client, Attempt], None],
        attempt: Attempt,
        number: int,
        failure: int,
        nth: int,
        *,
        stays: bool,
    ) -> tuple[int, list[str]]:
        with self._daemons.client(start=False) as client:
            self._control.arm(number, nth, failure, stays=stays)
            try:
                scenario(client, attempt)
            finally:
                _, fired, places = self._control.disarm()
        return fired, places

    def _check_leaks(self) -> None:
        nonce = self._daemons.nonce()
        until(lambda: not marked(nonce), "every process of the jobs to be gone", seconds=5)
        try:
            until(lambda: self._open_descriptors() <= self._descriptors, "the descriptors", seconds=5)
        except AssertionError:
            left = collections.Counter(self._files_open()) - self._files
            raise Broken(f"more than {self._descriptors} descriptors are open: {sorted(left)}") from None


def failure_name(target: Target, failure: int) -> str:
    import errno
    import sqlite3

    if target.name.startswith("sqlite"):
        names = {
            getattr(sqlite3, name): name
            for name in ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_NOMEM", "SQLITE_CANTOPEN")
        }
        return names[failure]
    return {-1: "MemoryError", -2: "can't start new thread"}.get(failure) or errno.errorcode[failure]
