"""Forces pids to be used again, and asks the guard about each: run in a pid namespace of its own.

`unshare --pid --fork --mount-proc python reuse_probe.py`: the kernel gives the number after the one in
/proc/sys/kernel/ns_last_pid to the next process (pid_namespaces(7)). Prints a JSON object: for each case, with pidfds
and without, what the guard said and whether the stranger lives on.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from datetime import UTC, datetime
from unittest import mock

from corral.jobs.managed_job import ManagedJob, ManagedStage
from corral.lifecycle.state_machine import new_life
from corral.model.spec import Command, JobSpec, Pipeline, Surroundings
from corral.platform.host.procfs import read_stat
from corral.platform.process import mark, pidfd
from corral.platform.process.identity import ProcessIdentity, identify
from corral.platform.process.kinship import Kinship
from corral.platform.process.mark import Mark
from corral.platform.process.signalling import KILL, RefusedSignalError, Signaller
from corral.processes.local_run import Member, StageHandle, run_of
from corral.processes.process_scan import ProcessScan
from corral.processes.unmarked_claims import kinship_of

NONCE, OTHER_NONCE, JOB, OTHER_JOB = 77, 78, 5, 6
HOME = "/a home"


def start(worn: Mark | None, *, own_session: bool = True) -> int:
    """A process that sleeps, with that mark."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        if own_session:
            os.setsid()
        if worn is not None:
            resource.setrlimit(mark.RLIMIT_LOCKS, (mark.encode(worn), resource.RLIM_INFINITY))
        signal.signal(signal.SIGUSR1, lambda *_: os.fork())
        os.write(writer, b"x")
        for _ in range(2):
            time.sleep(60)
        os._exit(0)
    os.read(reader, 1)
    os.close(reader)
    os.close(writer)
    return pid


def end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def start_again(pid: int, worn: Mark | None, *, own_session: bool = True) -> None:
    """Another process with that very pid."""
    with open("/proc/sys/kernel/ns_last_pid", "w", encoding="ascii") as file:
        file.write(str(pid - 1))
    again = start(worn, own_session=own_session)
    assert again == pid, f"the kernel gave {again}, not {pid}"


def identity_of(pid: int) -> ProcessIdentity:
    found = identify(pid)
    assert found is not None
    return found


def ended_job(leader: ProcessIdentity) -> ManagedJob:
    """A job whose only stage was `leader`, which has ended."""
    spec = JobSpec(Pipeline((Command(("sleep", "9")),)), "sleep 9")
    stage = ManagedStage(
        1, "sleep", ("sleep", "9"), held=StageHandle(identity=leader), ended=datetime.now(UTC)
    )
    where = Surroundings({}, "/", 0o022)
    return ManagedJob(JOB, spec, where, datetime.now(UTC), new_life(spec, ["sleep"]), [stage])


def said(signaller: Signaller, target: ProcessIdentity, kin: Kinship | None) -> str:
    try:
        return "sent" if signaller.send(target, KILL, kin=kin) else "ended"
    except RefusedSignalError as refusal:
        return str(refusal).split(") ", 1)[-1]


def ask(
    worn: Mark | None, *, own_session: bool = True, is_same: bool, has_marks: bool = True
) -> list[object]:
    """A process of ours ends, a stranger gets its pid, and the guard is told to signal.

    `is_same`: even the start time is the one that was known, as within one clock tick it may be.
    """
    pid = start(Mark(NONCE, JOB, 1))
    known = identity_of(pid)
    end(pid)
    while not is_same and int(time.clock_gettime(time.CLOCK_BOOTTIME) * 100) <= known.started:
        time.sleep(0.001)
    start_again(pid, worn, own_session=own_session)
    target = identity_of(pid) if is_same else known
    kin = kinship_of(ended_job(known), HOME)
    answer = said(Signaller(NONCE if has_marks else None), target, kin)
    lives = os.waitpid(pid, os.WNOHANG) == (0, 0)
    if lives:
        end(pid)
    return [answer, lives]


def marked_again(worn: Mark | None, *, is_same: bool) -> list[object]:
    """The same, and it is to be marked: as who was known, as the child of who was, in the session of who was."""
    pid = start(Mark(NONCE, JOB, 1))
    known = identity_of(pid)
    end(pid)
    while not is_same and int(time.clock_gettime(time.CLOCK_BOOTTIME) * 100) <= known.started:
        time.sleep(0.001)
    start_again(pid, worn)
    if is_same:
        known = identity_of(pid)
    child = start_within(pid)
    job = ended_job(known)
    run_of(job).members = {pid: Member(known, 1)} if not is_same else {}
    kin = kinship_of(job, HOME)
    answers = []
    for target in (known, identity_of(pid), identity_of(child)):
        before = resource.prlimit(target.pid, mark.RLIMIT_LOCKS)
        try:
            told = "marked" if Signaller(NONCE).restore_mark(target, Mark(NONCE, JOB, 1), kin) else "ended"
        except RefusedSignalError as refusal:
            told = str(refusal).split(") ", 1)[-1]
        answers.append(told if resource.prlimit(target.pid, mark.RLIMIT_LOCKS) == before else "was marked")
        answers.append(said(Signaller(NONCE), target, kin))
    for each in (child, pid):
        os.kill(each, signal.SIGKILL)
    os.waitpid(pid, 0)
    return answers


def start_within(leader: int) -> int:
    """A process with that one as its parent, in its session and its group: it forks when it gets SIGUSR1."""
    os.kill(leader, signal.SIGUSR1)
    while True:
        for name in os.listdir("/proc"):
            stat = read_stat(int(name)) if name.isdecimal() else None
            if stat is not None and stat.ppid == leader and stat.session == stat.process_group == leader:
                return stat.pid


def counted() -> list[object]:
    """Where marks do not work: a session and a group of the old leader's number are the stranger's, not the job's."""
    pid = start(None)
    known = identity_of(pid)
    end(pid)
    start_again(pid, None)
    while identity_of(pid) == known:
        end(pid)
        start_again(pid, None)
    found = ProcessScan(None, HOME).take([ended_job(known)])
    end(pid)
    return [found.get(JOB, []), True]


def cases() -> dict[str, list[object]]:
    return {
        "reused": ask(Mark(NONCE, JOB, 1), is_same=False),
        "unmarked": ask(None, is_same=True),
        "another job": ask(Mark(NONCE, OTHER_JOB, 1), is_same=True),
        "another home": ask(Mark(OTHER_NONCE, JOB, 1), is_same=True),
        "own session": ask(Mark(NONCE, JOB, 1), own_session=False, is_same=True),
        "without marks": ask(None, is_same=False, has_marks=False),
        "counted": counted(),
        "marked again": marked_again(None, is_same=False),
        "marked again, in the same tick": marked_again(None, is_same=True),
        "init": [said(Signaller(NONCE), identity_of(1), None), True],
    }


def main() -> None:
    # The first process of the namespace is protected as an ancestor and as pid 1; the daemon's part is its child's.
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    found = {"pidfd": cases()} if pidfd.is_supported() else {}
    with mock.patch.object(pidfd, "is_supported", return_value=False):
        found["pid"] = cases()
    json.dump(found, sys.stdout)
    sys.stdout.flush()


main()
