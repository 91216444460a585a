"""Where the client is not where the daemon is: what differs is passed on, taken over, or refused in one sentence."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from corral.model.errors import CannotStartError
from corral.platform.spawn import inheritance
from corral.platform.spawn.spawn import spawn
from e2e.command import Corral
from e2e.users import NOBODY, as_ordinary_user, his_folder

__all__ = ["his_folder"]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="all of this is Linux's")
as_root = pytest.mark.skipif(
    os.geteuid() != 0 or None in map(shutil.which, ("setpriv", "unshare", "choom", "prlimit")),
    reason="needs root and the tools of util-linux",
)
LINES = ("Gid", "Groups", "CapInh", "CapBnd", "CapAmb", "NoNewPrivs")
LOOK = (
    "sh",
    "-c",
    f"grep -E '^({'|'.join(LINES)}):' /proc/self/status; cat /proc/self/oom_score_adj; ulimit -Hn; nice",
)
WAY = "once no job runs, corral daemon restart from this shell gives it that; until then set CORRAL_HOME to another directory"


def inside(command: Corral, *prefix: str) -> Corral:
    """The command as it is behind another."""
    other = Corral(command.home, command.directory)
    other.argv = (*prefix, *command.argv)
    return other


def daemon_of(command: Corral) -> psutil.Process:
    return psutil.Process(int(command.ok("daemon", "status").split()[1]))


@as_root
@pytest.mark.parametrize("is_ahead", [False, True], ids=["", "with a stand-in"])
def test_what_can_be_passed_on_is(is_ahead: bool, corral: Corral) -> None:
    prefix = (
        *("choom", "-n", "500", "--", "prlimit", "--nofile=70:70", "nice", "-n", "4"),
        *("setpriv", "--no-new-privs", "--regid=5", "--groups=1,2,3", "--bounding-set=-net_raw"),
        *("--inh-caps=+sys_time", "--ambient-caps=+sys_time"),
    )
    plain = subprocess.run(LOOK, capture_output=True, text=True, check=True).stdout
    wanted = subprocess.run([*prefix, *LOOK], capture_output=True, text=True, check=True).stdout
    assert not set(wanted.splitlines()) & set(plain.splitlines())
    corral.ok("run", "-q", "true")
    if is_ahead:
        fifo = corral.directory / "fifo"
        os.mkfifo(fifo)
        job = inside(corral, *prefix).ok("run", "--stdin", str(fifo), "--", *LOOK)
        fifo.write_text("")
        corral.ok("wait", job)
        assert corral.ok("logs", job) + "\n" == wanted
    else:
        assert inside(corral, *prefix).ok("run", "-w", "-q", "--", *LOOK) + "\n" == wanted
    assert corral.ok("run", "-w", "-q", "--", *LOOK) + "\n" == plain


@as_root
def test_another_view_of_the_world_is_refused(corral: Corral) -> None:
    corral.ok("run", "sleep", "100")
    for prefix, what in (
        ("unshare -n", "network namespace"),
        ("unshare -m", "mount namespace"),
        ("unshare -i", "IPC namespace"),
        ("unshare -u", "host name (UTS namespace)"),
        ("unshare -Ur", "user namespace, capabilities"),
    ):
        ended = inside(corral, *prefix.split())("run", "true")
        why = f"corral: the daemon cannot give a job your {what}: {WAY}\n"
        assert (ended.returncode, ended.stdout, ended.stderr) == (125, "", why)
    root = corral.directory / "root"
    root.mkdir()
    line = (
        f"mount -t tmpfs none {root} && for each in /*; do test -d $each && mkdir {root}/$each"
        f' && mount --rbind $each {root}/$each; done; exec chroot {root} "$@"'
    )
    ended = inside(corral, "unshare", "-m", "sh", "-c", line, "sh")("run", "true")
    assert "cannot give a job your mount namespace, root directory: " in ended.stderr


@as_root
def test_the_daemon_is_taken_over_once_nothing_runs(corral: Corral) -> None:
    there = inside(corral, *["unshare", "-n", "-pf", "--mount-proc"])
    corral.ok("run", "-n", "nap", "sleep", "100")
    first = daemon_of(corral).pid
    why = f"the daemon cannot give a job your mount namespace, network namespace, pid namespace: {WAY}\n"
    ended = there("run", "--wait", "true")
    assert (ended.returncode, ended.stdout, ended.stderr) == (125, "", f"corral: {why}")
    ended = there("daemon", "restart")
    assert (ended.returncode, ended.stderr) == (0, f"corral: daemon restart: {why}")
    assert "1 job left running" in ended.stdout
    assert daemon_of(corral).pid == first
    corral.ok("stop", "nap")
    assert there.ok("run", "--wait", "-q", "echo", "there") == "there"
    assert corral.ok("run", "--wait", "-q", "echo", "here again") == "here again"


@pytest.fixture
def user(his_folder: Path) -> Iterator[Corral]:
    """The command as an ordinary user, who may raise nothing again."""
    work = his_folder / "work"
    work.mkdir()
    if os.geteuid() == 0:
        os.chown(work, NOBODY, NOBODY)
    command = inside(Corral(his_folder / "home", work), *as_ordinary_user())
    yield command
    command("daemon", "stop", "--jobs", "stop")


@as_root
@pytest.mark.parametrize(
    ("prefix", "what"),
    [
        ("nice -n 10", "nice value {nice} (it has 10)"),
        ("prlimit --nofile=64:64", "limit NOFILE of {nofile} (it has 64)"),
        ("setpriv --no-new-privs", "right to gain privileges (it has no_new_privs)"),
        ("setpriv --groups=7", "supplementary groups (they differ in {group})"),
    ],
)
def test_a_worse_daemon_is_no_worse_for_long(prefix: str, what: str, user: Corral) -> None:
    """The shell that happened to be first decides nothing for the others that the kernel lets us mend."""
    first = inside(user, *prefix.split())
    if "groups" in prefix:
        first.argv = tuple(word for word in first.argv if word != "--clear-groups")
        first.argv = (
            *first.argv[:1],
            *as_ordinary_user()[1:3],
            "--groups=7",
            *as_ordinary_user()[4:],
            *user.argv[7:],
        )
    first.ok("run", "-n", "nap", "sleep", "100")
    import grp

    named = what.format(
        nice=os.nice(0), nofile=resource.getrlimit(resource.RLIMIT_NOFILE)[1], group=grp.getgrgid(7).gr_name
    )
    ended = user("run", "true")
    assert (ended.returncode, ended.stderr) == (
        125,
        f"corral: the daemon cannot give a job your {named}: {WAY}\n",
    )
    user.ok("stop", "nap")
    assert user.ok("run", "--wait", "-q", "echo", "mended") == "mended"


@as_root
def test_a_daemon_of_root_mends_itself(corral: Corral) -> None:
    wants = ("choom -n 300 --", "setarch -R", "nice -n 3", "chrt --batch 0", "taskset 1", "ionice -c 3")
    niced = inside(corral, *" ".join(wants).split())
    looked = niced.ok("run", "-w", "-q", "--", *LOOK)
    assert looked.splitlines()[-3] == "300"
    assert looked.splitlines()[-1] == "3"
    daemon = daemon_of(corral)
    assert daemon.nice() == 0
    assert Path(f"/proc/{daemon.pid}/personality").read_text() == "00000000\n"
    assert daemon.ionice().ioclass == psutil.IOPRIO_CLASS_NONE
    assert os.sched_getscheduler(daemon.pid) == os.SCHED_OTHER
    assert os.sched_getaffinity(daemon.pid) == os.sched_getaffinity(0)
    assert Path(f"/proc/{daemon.pid}/oom_score_adj").read_text() == "0\n"


def test_what_the_kernel_refuses_is_named() -> None:
    """Where it could not be foreseen: root in a container may less than root."""
    null = os.open(os.devnull, os.O_RDWR)
    for given, what in (
        (
            {"limits": [(resource.RLIMIT_NOFILE, (1 << 40, 1 << 40))]},
            "limit NOFILE could not be given to it: ",
        ),
        ({"policy": (99, 0)}, "scheduling policy could not be given to it: Invalid argument"),
        ({"bounding": 0, "inheritable": 0, "ambient": 1}, "capabilities could not be given to it: "),
    ):
        with pytest.raises(CannotStartError, match=f"true: the client's {what}"):
            spawn(
                ["true"], "/bin/true", (null, null, null), cwd="/", environment={}, umask=0o022, carried_mark=None,
                settings=inheritance.ChildSettings(inside=given),
            )  # fmt: skip
    os.close(null)


def test_a_child_of_the_same_surroundings_costs_no_fork() -> None:
    from corral.client.environment import surroundings

    own = inheritance.own_of_this()
    assert inheritance.child_settings(surroundings(), own) == inheritance.ChildSettings()
    assert inheritance.refusals(surroundings(), own) == []


def test_a_policy_that_cannot_be_left_is_refused() -> None:
    """Not with real processes: on a busy machine what is SCHED_IDLE does not get to start a daemon."""
    from msgspec.structs import replace

    from corral.client.environment import surroundings

    own = inheritance.own_of_this()
    assert own.scheduling is not None
    idle = replace(own.scheduling, policy=os.SCHED_IDLE)
    real = replace(own.scheduling, policy=os.SCHED_FIFO, priority=9)
    plain = replace(surroundings(), scheduling=own.scheduling)
    weak = own._replace(powers=0, scheduling=idle, limits=own.limits | {resource.RLIMIT_NICE: (0, 0)})
    refused = ["scheduling policy SCHED_OTHER (it has SCHED_IDLE)"]
    assert inheritance.refusals(plain, weak) == refused
    assert inheritance.refusals(plain, weak._replace(powers=1 << 23)) == []
    assert (
        inheritance.refusals(plain, weak._replace(limits=own.limits | {resource.RLIMIT_NICE: (20, 20)})) == []
    )
    assert inheritance.refusals(replace(plain, scheduling=idle), own._replace(powers=0)) == []
    refused = ["scheduling policy SCHED_FIFO 9 (it has SCHED_OTHER)"]
    assert inheritance.refusals(replace(plain, scheduling=real), own._replace(powers=0)) == refused


def test_a_standing_that_no_process_can_have_is_refused() -> None:
    from msgspec.structs import replace

    from corral.client.environment import surroundings
    from corral.lifecycle.spec_check import check_surroundings
    from corral.model.errors import UsageError

    own = surroundings()
    check_surroundings(own)
    assert own.standing is not None
    for changes in ({"group": -1}, {"groups": (1 << 32,)}, {"oom_score_adj": 1001}):
        with pytest.raises(UsageError, match=r"group|oom_score_adj"):
            check_surroundings(replace(own, standing=replace(own.standing, **changes)))
