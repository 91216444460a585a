"""The troubles of troubled.py: each puts something wrong, sees that it is borne, and puts it right again."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator

from corral.platform.process.mark import RLIMIT_LOCKS
from e2e.command import Corral
from managers import zoo_argv
from reliability.troubled import ANSWER_SECONDS, World, demand
from until import until

Trouble = Callable[[World], None]
NAMES = 14_705
"""File names on one command line: 500 kB of them, which a shell takes."""


def held(world: World, *argv: str, options: tuple[str, ...] = ()) -> tuple[str, object]:
    """A job with a lock of its own; its id and the lock."""
    token = world.token()
    job_id = world.run(*options, "--", *token.held_by(["/usr/bin/env", *argv]))
    until(token.is_held, f"job {job_id} to hold its lock", seconds=ANSWER_SECONDS)
    return job_id, token


# ---- output -------------------------------------------------------------------------------------------------------


def output_emptied_by_its_own_program(world: World) -> None:
    line = "echo preflight >&2; seq 5 | tee /dev/stderr | wc -l; echo after >&2"
    waited = world.corral("run", "--wait", "--shell", line, timeout=ANSWER_SECONDS)
    demand((waited.returncode, waited.stdout.strip()) == (0, "5"), f"run --wait: {waited}")
    demand("after" in waited.stderr, f"the last line is missing: {waited.stderr}")
    logs = world.corral("logs", "@", timeout=ANSWER_SECONDS)
    demand(logs.returncode == 0 and "-" not in logs.stdout, f"logs: {logs}")


def output_kept_by_a_relay(world: World) -> None:
    line = "echo preflight >&2; seq 5 | tee /dev/stderr | wc -l; echo after >&2"
    waited = world.corral("run", "--wait", "--output", "pipe", "--shell", line, timeout=ANSWER_SECONDS)
    demand((waited.returncode, waited.stdout.strip()) == (0, "5"), f"run --wait: {waited}")
    lines = waited.stderr.splitlines()
    demand([*"12345"] == [one for one in lines if one.isdecimal()], f"lines are missing: {lines}")
    demand("preflight" in lines and "after" in lines, f"lines are missing: {lines}")


def output_truncated_from_outside(world: World) -> None:
    job_id = world.run("--shell", "seq 1000; read line < /dev/zero & exec sleep 300")
    path = world.home / "jobs" / job_id / "stdout"
    until(lambda: path.stat().st_size > 3000, "it to print")
    os.truncate(path, world.chance.choice((0, 10, 2000)))
    demand(world.corral("logs", job_id, timeout=ANSWER_SECONDS).returncode == 0, "logs of a truncated file")
    world.stop(job_id)


def output_replaced(world: World) -> None:
    """By what an open(2) could wait for, or what leads elsewhere."""
    make = world.chance.choice(("mkfifo f", "mkdir f", "ln -s /dev/zero f", "ln -s /etc/passwd f"))
    name = world.chance.choice(("stdout", "stderr.1"))
    code = (
        f"cd $CORRAL_HOME/jobs/$CORRAL_JOB_ID && {make} && mv -f {name} was; mv -fT f {name}; exec sleep 300"
    )
    job_id = world.run("--shell", code)
    folder = world.home / "jobs" / job_id
    until(lambda: (folder / "was").exists() and not (folder / "f").exists(), "it to be replaced")
    logs = world.corral("logs", job_id, timeout=ANSWER_SECONDS)
    demand("root:" not in logs.stdout, "logs shows a file from elsewhere")
    world.said("show", job_id)
    world.stop(job_id)


def own_descriptors_by_name(world: World) -> None:
    log = (world.home / "daemon.log").read_bytes()
    waited = world.corral("run", "--wait", "echo HELLO > /dev/stdout", timeout=ANSWER_SECONDS)
    demand((waited.returncode, waited.stdout) == (0, "HELLO\n"), f"> /dev/stdout: {waited}")
    demand((world.home / "daemon.log").read_bytes().startswith(log), "daemon.log was truncated")


# ---- what may wait for ever ---------------------------------------------------------------------------------------


def fifo_nobody_opens(world: World) -> None:
    path = world.work / f"fifo.{world.chance.random()}"
    os.mkfifo(path)
    job_id = world.run("-q", f"cat < {path}") or "@"
    world.stop(job_id)
    path.unlink()


@contextlib.contextmanager
def locked(path: str, how: str) -> Iterator[None]:
    """Another program's transaction."""
    connection = sqlite3.connect(path, timeout=ANSWER_SECONDS, isolation_level=None)
    try:
        connection.execute(f"BEGIN {how}")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


def journal_locked_by_another_program(world: World) -> None:
    job_id, token = held(world, "sleep", "300")
    limited, its_token = held(world, "sleep", "300", options=("--timeout", "1.5s"))
    with locked(str(world.home / "corral.db"), world.chance.choice(("IMMEDIATE", "EXCLUSIVE"))):
        world.corral("stop", "--grace", "0.2s", job_id, timeout=ANSWER_SECONDS)
        until(lambda: not token.is_held(), "a stop while the journal is locked", seconds=20)
        until(lambda: not its_token.is_held(), "a time limit while the journal is locked", seconds=20)
    world.until_state(job_id, "stopped")
    world.until_state(limited, "timed_out")


# ---- the home -----------------------------------------------------------------------------------------------------


def copied_home(world: World) -> None:
    job_id, token = held(world, "sleep", "300")
    copy = world.work / f"copy.{job_id}"
    subprocess.run(["cp", "-a", world.home, copy], check=True)
    other = Corral(copy, world.work)
    states = other("ps", "-a", "--json", timeout=ANSWER_SECONDS)
    demand('"running"' not in states.stdout, f"a copy runs jobs: {states.stdout[:500]}")
    other("stop", "--all", timeout=ANSWER_SECONDS)
    other("daemon", "stop", "--jobs", "stop", timeout=ANSWER_SECONDS)
    demand(token.is_held(), "the copy ended a job of the original")
    shutil.rmtree(copy)
    world.stop(job_id, token)


def moved_home(world: World) -> None:
    elsewhere = world.home.with_name("elsewhere")
    pid = world.daemon()
    world.home.rename(elsewhere)
    moved = Corral(elsewhere, world.work)
    moved("ps", timeout=ANSWER_SECONDS)
    elsewhere.rename(world.home)
    world.said("ps")
    demand(world.daemon() == pid or not os.path.exists(f"/proc/{pid}"), "two daemons for one home")


def socket_removed(world: World) -> None:
    pid = world.daemon()
    (world.home / "socket").unlink()
    until(lambda: world.corral("ps", timeout=ANSWER_SECONDS).returncode == 0, "the socket to be made again")
    demand(world.daemon() == pid, "another daemon took the place of one that lives")


def lock_file_removed(world: World) -> None:
    pid = world.daemon()
    (world.home / "daemon.lock").unlink()
    demand(world.daemon() == pid, "another daemon took the place of one that lives")


def journal_removed(world: World) -> None:
    job_id, token = held(world, "sleep", "300")
    for suffix in ("", "-wal", "-shm"):
        (world.home / f"corral.db{suffix}").unlink(missing_ok=True)
    until(lambda: (world.home / "corral.db").exists(), "a new journal", seconds=ANSWER_SECONDS)
    world.stop(job_id, token)


def outputs_removed(world: World) -> None:
    shutil.rmtree(world.home / "jobs")
    world.corral("logs", "witness", timeout=ANSWER_SECONDS)
    until(
        lambda: world.corral("run", "--wait", "true", timeout=ANSWER_SECONDS).returncode == 0,
        "a new job to start",
    )
    world.lose_output()


def full_disk(world: World) -> None:
    job_id, token = held(world, "sleep", "300")
    ending = world.run("-n", "ending", "--shell", "sleep 0.5; exit 3")
    filler = world.place / "filler"
    with open(filler, "wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            with contextlib.suppress(OSError):
                while file.write(b"\0" * size):
                    pass
    until(lambda: world.corral("wait", ending, timeout=ANSWER_SECONDS).returncode == 3, "it to end")
    demand(
        world.corral("wait", "ending", timeout=ANSWER_SECONDS).returncode == 3, "it is not found by its name"
    )
    world.stop(job_id, token)
    filler.unlink()
    # The witness could not write for a while, and has that from its own print().
    until(lambda: world.corral("run", "--wait", "true").returncode == 0, "room for a new job")
    if world.job(world.witness["id"])["state"] != "running":
        world.begin()
    else:
        world.lose_output()


# ---- the daemon ---------------------------------------------------------------------------------------------------


def daemon_killed(world: World) -> None:
    os.kill(world.daemon(), signal.SIGKILL)


def daemon_restarted(world: World) -> None:
    world.corral("daemon", "restart", timeout=ANSWER_SECONDS)


def daemon_killed_while_a_job_is_restarted(world: World) -> None:
    code = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
    job_id = world.run("--stop-grace", "2s", "--shell", code)
    until(lambda: "ready" in world.said("logs", job_id), "it to ignore TERM")
    with world.corral.start("restart", job_id) as client:
        world.until_state(job_id, "stopping")
        os.kill(world.daemon(), signal.SIGKILL)
        client.communicate(timeout=ANSWER_SECONDS)
    world.until_state(job_id, "stopped")
    again = [job["id"] for job in world.jobs().values() if job["restarted_from"] == job_id]
    demand(len(again) == 1, f"job {job_id} runs again as {again}")
    world.until_state(again[0], "running")
    world.said("kill", again[0])


def daemon_ended_while_jobs_start(world: World) -> None:
    """By TERM: jobs go on under the next one."""
    pid = world.daemon()
    starts = [world.corral.start("run", "true") for _ in range(6)]
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    for start in starts:
        start.communicate(timeout=ANSWER_SECONDS)
    until(lambda: not os.path.exists(f"/proc/{pid}"), "the daemon to be gone", seconds=ANSWER_SECONDS)


# ---- much ---------------------------------------------------------------------------------------------------------


def long_command_line(world: World) -> None:
    names = [f"/a/name/that/is/as/long/as/they/are{number}" for number in range(NAMES)]
    waited = world.corral("run", "--wait", "--", "sh", "-c", "echo $#", "sh", *names, timeout=ANSWER_SECONDS)
    demand(
        (waited.returncode, waited.stdout) == (0, f"{NAMES}\n"), f"{waited.returncode} {waited.stderr[:300]}"
    )
    world.said("rm", "@")


def many_queued(world: World) -> None:
    first = world.run("sleep", "300")
    line = " | ".join(["cat"] * 32)
    ids = [world.run("--after", first, line) for _ in range(10)]
    world.said("stop", *ids, first)


def folder_of_many_files(world: World) -> None:
    code = "cd $CORRAL_HOME/jobs/$CORRAL_JOB_ID && seq -f 'f%.0f' 5000 | xargs touch"
    waited = world.corral("run", "--wait", "--shell", code, timeout=ANSWER_SECONDS)
    demand(waited.returncode == 0, f"{waited}")
    world.said("rm", "@")


# ---- marks --------------------------------------------------------------------------------------------------------


def leader_without_mark(world: World) -> None:
    job_id, token = held(world, "bash", "-c", "ulimit -x unlimited; sleep 300 & exec sleep 300")
    way = world.chance.choice(("stop", "timeout", "crash"))
    if way == "crash":
        os.kill(world.daemon(), signal.SIGKILL)
    world.stop(job_id, token)  # type: ignore[arg-type]


def agent_that_daemonises(world: World) -> None:
    if shutil.which("ssh-agent") is None:
        return
    token = world.token()
    argv = token.held_by(["/usr/bin/env", "sh", "-c", "eval $(ssh-agent); exec sleep 300"])
    job_id = world.run("--", *argv)
    until(lambda: "Agent pid" in world.said("logs", job_id), "the agent to run")
    world.stop(job_id, token)


def stranger_that_wears_a_mark(world: World) -> None:
    """A process outside of Corral that was given a job's mark on purpose: what becomes of it is said, nothing else breaks."""
    job_id, token = held(world, "sleep", "300")
    pid = world.job(job_id)["stages"][0]["pid"]
    try:
        limit = resource.prlimit(pid, RLIMIT_LOCKS)
    except OSError as error:
        demand(error.errno == errno.ESRCH, f"{error}")
        return
    with subprocess.Popen(
        [sys.executable, "-S", "-E", "-c", "import time; time.sleep(300)"], start_new_session=True
    ) as stranger:
        resource.prlimit(stranger.pid, RLIMIT_LOCKS, limit)
        world.corral("stop", "--grace", "0.2s", job_id, timeout=ANSWER_SECONDS)
        demand(not token.is_held(), "the job's own process lives")  # type: ignore[attr-defined]
        stranger.kill()
    world.corral("stop", job_id, timeout=ANSWER_SECONDS)


def everything_at_once(world: World) -> None:
    job_id = world.run("--", *zoo_argv("does_everything"))
    until(lambda: world.job(job_id)["processes"] != 0, "it to have a tree")
    world.stop(job_id)


TROUBLES: tuple[Trouble, ...] = (
    output_emptied_by_its_own_program,
    output_kept_by_a_relay,
    output_truncated_from_outside,
    output_replaced,
    own_descriptors_by_name,
    fifo_nobody_opens,
    journal_locked_by_another_program,
    copied_home,
    moved_home,
    socket_removed,
    lock_file_removed,
    journal_removed,
    outputs_removed,
    full_disk,
    daemon_killed,
    daemon_restarted,
    daemon_killed_while_a_job_is_restarted,
    daemon_ended_while_jobs_start,
    long_command_line,
    many_queued,
    folder_of_many_files,
    leader_without_mark,
    agent_that_daemonises,
    stranger_that_wears_a_mark,
    everything_at_once,
)
