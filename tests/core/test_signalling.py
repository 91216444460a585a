"""The guard of the one function that sends signals. What it must refuse never meets a real signal here."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corral.platform.host.procfs import read_stat
from corral.platform.inspect.fdinfo import children_of
from corral.platform.process import mark, pidfd, signalling
from corral.platform.process.identity import ProcessIdentity, identify
from corral.platform.process.kinship import Kinship
from corral.platform.process.mark import Mark
from corral.platform.process.signalling import KILL, TERM, RefusedSignalError, Signaller
from until import python, running, until

NONCE = 77
SLEEPER = python("import time; time.sleep(60)")
pytestmark = pytest.mark.skipif(mark.why_not() is not None, reason=f"no marks here: {mark.why_not()}")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What would have been sent: both ways into the kernel lead here."""
    calls: list[tuple[str, int]] = []

    def through_pidfd(_: int, number: int) -> bool:
        calls.append(("pidfd", number))
        return True

    class RecordingOs:
        """`os` for the guard alone; the test's own children have to be killed for real."""

        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

        def kill(self, pid: int, number: int) -> None:
            calls.append((f"pid {pid}", number))

    monkeypatch.setattr(pidfd, "send_signal", through_pidfd)
    monkeypatch.setattr(signalling, "os", RecordingOs())
    return calls


@pytest.fixture(params=["pidfd", "pid"])
def signaller(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Signaller:
    """Both ways: with pidfds and, as on an older kernel, without."""
    if request.param == "pid":
        monkeypatch.setattr(pidfd, "is_supported", lambda: False)
    elif not pidfd.is_supported():
        pytest.skip("no pidfds here")
    return Signaller(NONCE)


def put_mark(pid: int, value: Mark | None) -> None:
    hard = resource.prlimit(pid, mark.RLIMIT_LOCKS)[1]
    soft = hard if value is None else mark.encode(value)
    resource.prlimit(pid, mark.RLIMIT_LOCKS, (soft, hard))


@pytest.fixture
def marked() -> Iterator[subprocess.Popen[bytes]]:
    """A child in a session of its own with the mark of our home."""
    with running(*SLEEPER, start_new_session=True) as child:
        put_mark(child.pid, Mark(NONCE, 5, 1))
        yield child


def identity_of(pid: int) -> ProcessIdentity:
    found = identify(pid)
    assert found is not None
    return found


@pytest.mark.parametrize("pid", [1, 0, -1, -4711, -(2**31), True, False, 1.0, "4", None])
def test_numbers_that_are_no_pid_of_one_process_are_refused(
    signaller: Signaller, sent: list[Any], pid: Any
) -> None:
    with pytest.raises(RefusedSignalError):
        signaller.send(ProcessIdentity(pid, 0), TERM)
    assert sent == []


def test_the_daemon_itself_is_refused_even_with_a_mark(signaller: Signaller, sent: list[Any]) -> None:
    before = resource.getrlimit(mark.RLIMIT_LOCKS)
    put_mark(os.getpid(), Mark(NONCE, 5, 1))
    try:
        with pytest.raises(RefusedSignalError, match="Corral itself or an ancestor"):
            signaller.send(identity_of(os.getpid()), TERM)
    finally:
        resource.setrlimit(mark.RLIMIT_LOCKS, before)
    assert sent == []


ANCESTOR_PROBE = f"""
import os, resource, sys
from corral.platform.process import mark; from corral.platform.process import pidfd
from corral.platform.process.identity import identify
from corral.platform.process.signalling import RefusedSignalError, Signaller
sent = []
pidfd.send_signal = lambda fd, number: sent.append(number) or True
os.kill = lambda pid, number: sent.append(number)
resource.setrlimit(mark.RLIMIT_LOCKS, (mark.encode(mark.Mark({NONCE}, 5, 1)), -1))
grandparent = os.getpid()
if os.fork() == 0:
    parent = os.getpid()
    if os.fork() == 0:
        os.setsid()
        said = []
        for pid in (grandparent, parent, os.getppid()):
            try:
                Signaller({NONCE}).send(identify(pid), 15)
                said.append("sent")
            except RefusedSignalError as error:
                said.append("refused" if "ancestor" in str(error) else str(error))
        print(said, sent, flush=True)
        os._exit(0)
    os.wait()
    os._exit(0)
os.wait()
"""


def test_marked_ancestors_in_another_session_are_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ANCESTOR_PROBE],
        capture_output=True,
        text=True,
        check=True,
        start_new_session=True,
    )
    assert done.stdout.strip() == "['refused', 'refused', 'refused'] []"


def test_its_own_session_is_refused_even_with_a_mark(signaller: Signaller, sent: list[Any]) -> None:
    with running(*SLEEPER) as child:
        put_mark(child.pid, Mark(NONCE, 5, 1))
        with pytest.raises(RefusedSignalError, match="own session"):
            signaller.send(identity_of(child.pid), TERM)
    assert sent == []


@pytest.mark.parametrize("other", [None, Mark(NONCE + 1, 5, 1), Mark(NONCE ^ 1 << 21, 5, 1)])
def test_no_mark_or_that_of_another_home_is_refused(
    signaller: Signaller, sent: list[Any], other: Mark | None
) -> None:
    with running(*SLEEPER, start_new_session=True) as child:
        put_mark(child.pid, other)
        with pytest.raises(RefusedSignalError, match="no mark of this home"):
            signaller.send(identity_of(child.pid), KILL)
    assert sent == []


@pytest.mark.parametrize("soft", [0, 1, 65536, 1 << 61, (1 << 62) - 1])
def test_a_finite_limit_that_is_no_mark_is_refused(signaller: Signaller, sent: list[Any], soft: int) -> None:
    with running(*SLEEPER, start_new_session=True) as child:
        resource.prlimit(child.pid, mark.RLIMIT_LOCKS, (soft, resource.RLIM_INFINITY))
        with pytest.raises(RefusedSignalError):
            signaller.send(identity_of(child.pid), KILL)
    assert sent == []


def test_a_process_of_another_job_is_refused(
    signaller: Signaller, sent: list[Any], marked: subprocess.Popen[bytes]
) -> None:
    """Its pid may have been reused, by another job of this home, between the look and the signal."""
    kin = Kinship(6, {marked.pid}, {marked.pid}, {marked.pid}, "/nowhere")
    with pytest.raises(RefusedSignalError, match="another job"):
        signaller.send(identity_of(marked.pid), KILL, kin=kin)
    assert sent == []


@pytest.mark.parametrize("difference", [-1, 1, 1000])
def test_a_reused_pid_counts_as_ended(
    signaller: Signaller, sent: list[Any], marked: subprocess.Popen[bytes], difference: int
) -> None:
    was = identity_of(marked.pid)
    assert signaller.send(was._replace(started=was.started + difference), KILL) is False
    assert sent == []


def test_a_zombie_has_ended(signaller: Signaller, sent: list[Any], marked: subprocess.Popen[bytes]) -> None:
    was = identity_of(marked.pid)
    marked.kill()
    until(lambda: (stat := read_stat(marked.pid)) and stat.state == "Z", "the child to be a zombie")
    assert signaller.send(was, TERM) is False
    assert sent == []


def test_who_is_gone_has_ended(signaller: Signaller, sent: list[Any]) -> None:
    with running(*SLEEPER, start_new_session=True) as child:
        was = identity_of(child.pid)
    assert signaller.send(was, TERM) is False
    assert sent == []


def test_a_marked_child_gets_each_signal_in_order(
    signaller: Signaller, sent: list[Any], marked: subprocess.Popen[bytes]
) -> None:
    assert signaller.send(identity_of(marked.pid), TERM, signal.SIGCONT) is True
    assert [number for _, number in sent] == [TERM, signal.SIGCONT]


def test_a_marked_child_is_really_ended(signaller: Signaller, marked: subprocess.Popen[bytes]) -> None:
    assert signaller.send(identity_of(marked.pid), TERM) is True
    assert marked.wait(30) == -TERM


# ---- where marks do not work, or may not be read


def kinship(job: int = 5, **known: int) -> Kinship:
    return Kinship(
        job,
        {known.get("parent", -1)},
        {known.get("session", -1)},
        {known.get("group", -1)},
        "/a home",
    )


def test_without_marks_one_way_is_not_enough_and_two_are(sent: list[Any]) -> None:
    signaller = Signaller(None)
    with running(*SLEEPER, start_new_session=True) as child:
        who = identity_of(child.pid)
        for kin in (None, kinship(), kinship(parent=os.getpid()), kinship(session=child.pid)):
            with pytest.raises(RefusedSignalError, match="not provably"):
                signaller.send(who, KILL, kin=kin)
        assert sent == []
        assert signaller.send(who, KILL, kin=kinship(session=child.pid, group=child.pid))
        assert signaller.send(who, KILL, kin=kinship(session=child.pid, parent=os.getpid()))
    assert len(sent) == 2


def test_without_marks_the_environment_is_one_way_only_with_its_home(sent: list[Any]) -> None:
    signaller = Signaller(None)
    ours = {**os.environ, "CORRAL_JOB_ID": "5", "CORRAL_HOME": "/a home"}
    for environment, is_ours in (
        (ours, True),
        ({**ours, "CORRAL_HOME": "/another home"}, False),
        ({**ours, "CORRAL_JOB_ID": "55"}, False),
    ):
        with running(*SLEEPER, start_new_session=True, env=environment) as child:
            # For a moment after execve(2) has closed what is close-on-exec, the new environment is not there yet.
            until(lambda child=child: Path(f"/proc/{child.pid}/environ").read_bytes(), "its environment")
            kin = kinship(session=child.pid)
            if is_ours:
                assert signaller.send(identity_of(child.pid), TERM, kin=kin)
            else:
                with pytest.raises(RefusedSignalError):
                    signaller.send(identity_of(child.pid), TERM, kin=kin)
    assert len(sent) == 1


def test_where_the_mark_may_not_be_read_kinship_has_to_prove_it(
    monkeypatch: pytest.MonkeyPatch, sent: list[Any], marked: subprocess.Popen[bytes]
) -> None:
    def refuse(pid: int) -> Mark | None:
        raise PermissionError(pid)

    monkeypatch.setattr(mark, "read", refuse)
    signaller, who = Signaller(NONCE), identity_of(marked.pid)
    with pytest.raises(RefusedSignalError, match="not provably"):
        signaller.send(who, TERM, kin=kinship(session=marked.pid))
    assert sent == []
    assert signaller.send(who, TERM, kin=kinship(session=marked.pid, group=marked.pid))


# ---- what has lost its mark


@pytest.fixture
def unmarked() -> Iterator[subprocess.Popen[bytes]]:
    """A child in a session of its own whose mark somebody took off."""
    with running(*SLEEPER, start_new_session=True) as child:
        put_mark(child.pid, None)
        yield child


def value(pid: int) -> int:
    return mark.value_of(pid) or 0


def test_what_lost_its_mark_needs_two_ways_to_be_signalled_or_marked(
    signaller: Signaller, sent: list[Any], unmarked: subprocess.Popen[bytes]
) -> None:
    who, before = identity_of(unmarked.pid), value(unmarked.pid)
    one_way = (
        kinship(),
        kinship(parent=os.getpid()),
        kinship(session=unmarked.pid),
        kinship(group=unmarked.pid),
    )
    for kin in one_way:
        with pytest.raises(RefusedSignalError, match="carries no mark of this home"):
            signaller.send(who, KILL, kin=kin)
        with pytest.raises(RefusedSignalError, match="carries no mark of this home"):
            signaller.restore_mark(who, Mark(NONCE, 5, 1), kin)
    assert (sent, value(unmarked.pid)) == ([], before)
    kin = kinship(session=unmarked.pid, group=unmarked.pid)
    assert signaller.send(who, KILL, kin=kin)
    assert signaller.restore_mark(who, Mark(NONCE, 5, 3), kin)
    assert mark.read(unmarked.pid) == Mark(NONCE, 5, 3)
    assert signaller.send(who, TERM)
    assert [number for _, number in sent] == [KILL, TERM]


def test_a_child_of_who_is_known_is_known_as_long_as_that_one_lives(signaller: Signaller) -> None:
    code = "import os, time\nif os.fork() == 0: os.setsid()\nelse: print('ready', flush=True)\ntime.sleep(60)"
    with running(*python(code), start_new_session=True, stdout=subprocess.PIPE) as parent:
        put_mark(parent.pid, None)
        assert parent.stdout is not None
        parent.stdout.readline()
        (child,) = until(lambda: children_of(parent.pid), "its child")
        until(lambda: os.getsid(child) == child, "a session of its own")
        put_mark(child, None)
        was = identity_of(parent.pid)
        reused = was._replace(started=was.started - 1)
        for known in ((), (reused,), (identity_of(os.getpid()),)):
            with pytest.raises(RefusedSignalError):
                signaller.restore_mark(identity_of(child), Mark(NONCE, 5, 1), known_to(*known))
        assert value(child) == mark.UNLIMITED
        assert signaller.restore_mark(identity_of(child), Mark(NONCE, 5, 1), known_to(was))
        assert signaller.send(identity_of(child), KILL)


def known_to(*known: ProcessIdentity) -> Kinship:
    return Kinship(5, (), (), (), "/a home", known)


@pytest.mark.parametrize("said", [mark.APART, mark.encode(Mark(NONCE + 1, 5, 1))])
def test_a_daemon_and_processes_of_other_homes_are_left_alone_unless_they_are_a_stage(
    signaller: Signaller, sent: list[Any], unmarked: subprocess.Popen[bytes], said: int
) -> None:
    resource.prlimit(unmarked.pid, mark.RLIMIT_LOCKS, (said, resource.RLIM_INFINITY))
    who = identity_of(unmarked.pid)
    every = {unmarked.pid, os.getpid()}
    for kin in (Kinship(5, every, every, every, "/a home"), known_to(who)):
        with pytest.raises(RefusedSignalError, match="no mark of this home"):
            signaller.send(who, KILL, kin=kin)
        with pytest.raises(RefusedSignalError, match="no mark of this home"):
            signaller.restore_mark(who, Mark(NONCE, 5, 1), kin)
    assert (sent, value(unmarked.pid)) == ([], said)
    assert signaller.send(who, KILL, kin=Kinship(5, (), (), (), "/a home", (who,), leaders=(who,)))


def test_the_mark_of_another_job_is_overruled_only_for_who_is_known(
    signaller: Signaller, sent: list[Any], marked: subprocess.Popen[bytes]
) -> None:
    who = identity_of(marked.pid)
    kin = Kinship(6, (), (), (), "/a home", (who,))
    with pytest.raises(RefusedSignalError, match="another job"):
        signaller.restore_mark(who, Mark(NONCE, 6, 1), Kinship(6, {1}, {marked.pid}, {marked.pid}, "/a home"))
    with pytest.raises(RefusedSignalError, match="another job"):
        signaller.restore_mark(who, Mark(NONCE, 5, 1), kin)
    assert mark.read(marked.pid) == Mark(NONCE, 5, 1)
    assert signaller.send(who, TERM, kin=kin)
    assert signaller.restore_mark(who, Mark(NONCE, 6, 2), kin)
    assert mark.read(marked.pid) == Mark(NONCE, 6, 2)


@pytest.mark.parametrize("whom", ["init", "the daemon", "its parent", "its session", "reused"])
def test_who_is_never_signalled_is_never_marked(signaller: Signaller, whom: str) -> None:
    with running(*SLEEPER, start_new_session=whom == "reused") as child:
        put_mark(child.pid, None)
        pids = {"init": 1, "the daemon": os.getpid(), "its parent": os.getppid()}
        target = ProcessIdentity(1, 0) if whom == "init" else identity_of(pids.get(whom, child.pid))
        before = value(target.pid) if whom != "init" else 0
        if whom == "reused":
            assert not signaller.restore_mark(
                target._replace(started=target.started - 1), Mark(NONCE, 5, 1), known_to(target)
            )
        else:
            kin = Kinship(5, (), (), (), "/a home", (target,), leaders=(target,))
            with pytest.raises(RefusedSignalError):
                signaller.restore_mark(target, Mark(NONCE, 5, 1), kin)
        assert whom == "init" or value(target.pid) == before


def test_a_pid_that_went_to_somebody_else_while_it_was_marked_is_unmarked_again(
    signaller: Signaller, monkeypatch: pytest.MonkeyPatch, unmarked: subprocess.Popen[bytes]
) -> None:
    who = identity_of(unmarked.pid)
    put_mark(unmarked.pid, Mark(3, 4, 5))
    before = value(unmarked.pid)
    monkeypatch.setattr(mark, "read", lambda _: None)
    monkeypatch.setattr(signalling, "identify", lambda pid: ProcessIdentity(pid, 0))
    kin = kinship(session=unmarked.pid, group=unmarked.pid)
    assert signaller.restore_mark(who, Mark(NONCE, 5, 1), kin) is False
    assert value(unmarked.pid) == before


def test_a_lowered_hard_limit_carries_no_mark(
    signaller: Signaller, unmarked: subprocess.Popen[bytes]
) -> None:
    resource.prlimit(unmarked.pid, mark.RLIMIT_LOCKS, (9, 9))
    kin = kinship(session=unmarked.pid, group=unmarked.pid)
    with pytest.raises(PermissionError, match="hard limit"):
        signaller.restore_mark(identity_of(unmarked.pid), Mark(NONCE, 5, 1), kin)
    assert value(unmarked.pid) == 9


def test_nothing_above_the_guard_signals_by_itself() -> None:
    """One function sends signals; no other module of the engine so much as names a way to."""
    import corral

    root = os.path.dirname(os.path.abspath(corral.__file__))
    ways = ("os.kill(", "os.killpg(", "pidfd_send_signal(", ".send_signal(", ".terminate()", ".kill()")
    allowed = {"platform/process/signalling.py", "platform/process/pidfd.py"}
    found = []
    for directory, _, names in os.walk(root):
        for name in names:
            path = os.path.join(directory, name)
            if not name.endswith(".py") or os.path.relpath(path, root) in allowed:
                continue
            with open(path, encoding="utf-8") as source:
                text = source.read()
            found += [(os.path.relpath(path, root), way) for way in ways if way in text]
    # The library's own `kill` runs a stop sequence; it is the only other method of that name.
    assert found == []
