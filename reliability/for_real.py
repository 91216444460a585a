"""Real shortages: a file system of three megabytes, descriptors, processes and memory that end.

Each is a program of its own, `python -m reliability for_real PART DIRECTORY`, since it changes what the whole process may do.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from corral.client.blocking import Client
from corral.client.environment import surroundings
from corral.journal.reader import JournalReader
from corral.model.errors import CannotStartError, CorralError
from corral.model.home import Home
from corral.model.spec import DescriptorInput
from corral.protocol import requests as p
from e2e.daemons import Daemons, job, spec, start, wait
from reliability import itself
from reliability.injected import demand
from until import until

PATIENCE = 30
SLEEP = "sleep 300"
MOST = 300
"""Jobs after which a limit that was not met is no limit."""


def refusal(client: Client, command: str | list[str], *words: str, **fields: object) -> str:
    """What is said where a job cannot start; it names one of `words`, and the job itself says the same."""
    try:
        started = start(client, command, **fields)
    except CorralError as error:
        text = str(error)
        demand(any(word in text for word in words), f"refused without naming {words}: {text}")
        if isinstance(error, CannotStartError):
            demand(error.status == 125, f"refused with {error.status}: {text}")
            demand(job(client, error.job or "").state == "failed", f"job {error.job} is not failed")
        return text
    raise AssertionError(f"job {started} started where nothing was left")


def until_refused(client: Client, command: str, *words: str) -> list[str]:
    """Start jobs until one cannot start; the ids of those that run."""
    ids: list[str] = []
    while len(ids) < MOST:
        try:
            ids += start(client, command)
        except CannotStartError as error:
            demand(
                error.status == 125 and any(word in str(error) for word in words), f"{error.status}: {error}"
            )
            return ids
    raise AssertionError(f"{MOST} jobs run and no limit was met")


def stop_all(client: Client, ids: list[str]) -> None:
    """With proof, with nothing to spare."""
    reply = client.call(p.StopJobs(ids=tuple(ids), grace=2.0), timeout=PATIENCE)
    demand(all(report.nothing_is_left for report in reply.reports), f"something is left: {reply.reports}")
    for each in wait(client, *ids):
        demand(each.state == "stopped", f"job {each.id} is {each.state}: {each.reason}")


def works_again(client: Client) -> None:
    (one,) = wait(client, *start(client, "printf hello | cat"))
    out = Path(Home(client.hello.home).stdout(one.id)).read_bytes()
    demand((one.state, out) == ("succeeded", b"hello"), f"the next job: {one.state} {one.reason} {out!r}")


@contextlib.contextmanager
def lowered(pid: int, limit: int, value: int) -> Iterator[None]:
    """Let another process have a soft limit for a while."""
    before = resource.prlimit(pid, limit)
    resource.prlimit(pid, limit, (value, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, limit, before)


def _count(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


# ---- what ends ----------------------------------------------------------------------------------------------------


def descriptors(directory: Path) -> str:
    """The daemon's soft NOFILE is met by jobs, then by clients, to the last one."""
    daemons = Daemons(directory / "home")
    idle: list[socket.socket] = []
    try:
        with daemons.client() as client:
            works_again(client)
            pid = client.hello.pid
            before = _count(pid)
            with lowered(pid, resource.RLIMIT_NOFILE, before + 30):
                ids = start(client, *[SLEEP] * 60, "sleep 300 | sleep 300 | sleep 300")
                until(lambda: all(job(client, each).state == "running" for each in ids), "all jobs to run")
                idle.extend(daemons.raw() for _ in range(40))
                until(lambda: _count(pid) >= before + 29, "clients to take the last descriptors")
                refusal(client, SLEEP, "descriptors")
                reader, writer = os.pipe()
                request = p.StartJobs(
                    specs=(spec("cat", stdin=DescriptorInput()),),
                    surroundings=surroundings(),
                    wait_started=True,
                )
                text = ""
                try:
                    client.call(request, (reader,), timeout=PATIENCE)
                except CorralError as error:
                    text = str(error)
                os.close(reader)
                os.close(writer)
                demand("descriptors" in text, f"a passed descriptor that did not arrive: {text!r}")
                stop_all(client, ids)
            for sock in idle:
                sock.close()
            works_again(client)
            until(lambda: _count(pid) <= before + 2, "descriptors to be given back")
            return (
                f"{len(ids)} jobs ran on 30 descriptors, then clients took the last; all stopped, with proof"
            )
    finally:
        for sock in idle:
            sock.close()
        daemons.end()


def processes(directory: Path) -> str:
    """The daemon's soft NPROC is met; an ordinary user only, since root has no such limit."""
    daemons = Daemons(directory / "home")
    try:
        with daemons.client() as client:
            works_again(client)
            pid = client.hello.pid
            with lowered(pid, resource.RLIMIT_NPROC, _processes_of_mine() + 12):
                ids = until_refused(client, SLEEP, "processes")
                refusal(client, "sleep 300 | sleep 300", "processes")
                fifo = directory / "fifo"
                os.mkfifo(fifo)
                refusal(client, f"cat < {fifo}", "processes")
                stop_all(client, ids)
            works_again(client)
            return f"{len(ids)} jobs ran, then no process, pipeline or thread; all stopped, with proof"
    finally:
        daemons.end()


def _processes_of_mine() -> int:
    """Threads, as RLIMIT_NPROC counts them (getrlimit(2))."""
    count = 0
    for name in os.listdir("/proc"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if name.isdigit() and os.stat(f"/proc/{name}").st_uid == os.getuid():
                count += len(os.listdir(f"/proc/{name}/task"))
    return count


def memory(directory: Path) -> str:
    """The daemon's address space may grow no more."""
    daemons = Daemons(directory / "home")
    try:
        with daemons.client() as client:
            works_again(client)
            pid = client.hello.pid
            size = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
            failed, ran = 0, []
            with lowered(pid, resource.RLIMIT_AS, size + (1 << 20)):
                for _ in range(60):
                    try:
                        ran += start(client, " | ".join([SLEEP] * 4))
                    except CorralError as error:
                        demand("memory" in str(error), f"refused without naming memory: {error}")
                        failed += 1
                with contextlib.suppress(CorralError):
                    client.call(p.ListJobs(all=True), timeout=PATIENCE)
            demand(identify_alive(daemons), "the daemon is gone")
        with daemons.client(start=False) as client:
            stop_all(client, ran) if ran else None
            works_again(client)
        return f"60 pipelines of 4 asked for: {len(ran)} ran, {failed} were refused for want of memory"
    finally:
        daemons.end()


def identify_alive(daemons: Daemons) -> bool:
    return bool(daemons.alive())


def disk(directory: Path) -> str:
    """A file system of three megabytes is filled to the last byte; in a mount namespace of its own."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m,mode=755", "none", directory], check=True)
    daemons = Daemons(directory / "home")
    try:
        with daemons.client() as client:
            works_again(client)
            lasting, writing = start(client, SLEEP), start(client, ["sh", "-c", "sleep 0.2; exit 3"])
            _fill(directory)
            _full(client, daemons, lasting, writing)
            (directory / "filler").unlink()
            works_again(client)
            demand(job(client, lasting[0]).state == "stopped", "a stop on a full disk was forgotten")
        return _full_at_start(directory, daemons, lasting[0], writing[0])
    finally:
        (directory / "filler").unlink(missing_ok=True)
        daemons.end()
        subprocess.run(["umount", "-l", directory], check=True)


def _fill(directory: Path) -> None:
    with open(directory / "filler", "ab", buffering=0) as file, contextlib.suppress(OSError):
        for size in (65536, 4096, 1):
            with contextlib.suppress(OSError):
                while file.write(b"\0" * size):
                    pass


def _full(client: Client, daemons: Daemons, lasting: list[str], writing: list[str]) -> None:
    for _ in range(3):
        refusal(client, "echo no", "space")
    (ended,) = wait(client, *writing)
    demand(
        (ended.state, ended.exit_status) == ("failed", 3),
        f"{ended.state} {ended.exit_status}: {ended.reason}",
    )
    stop_all(client, lasting)
    listed = {each.id: each.state for each in client.call(p.ListJobs(all=True), timeout=PATIENCE).jobs}
    demand(listed[writing[0]] == "failed" and listed[lasting[0]] == "stopped", f"listed: {listed}")


def _full_at_start(directory: Path, daemons: Daemons, stopped: str, failed: str) -> str:
    """The journal has all that was noted late; and no daemon starts where nothing can be noted, which is said."""
    daemons.signal()
    reader = JournalReader.open(daemons.home)
    states = (reader.job(int(stopped)).state, reader.job(int(failed)).state)
    reader.close()
    demand(states == ("stopped", "failed"), f"the journal says {states}")
    shutil.rmtree(daemons.home.path)
    _fill(directory)
    said = ""
    try:
        with daemons.client():
            said = ""
    except CorralError as error:
        said = str(error)
    demand("space" in said, f"a home on a full disk: {said!r}")
    return "refused in plain words while full; what ended meanwhile was noted once there was room"


def file_size(directory: Path) -> str:
    """The daemon's files may grow no more (`ulimit -f`): the journal fails as on a full disk, and SIGXFSZ ends nothing."""
    daemons = Daemons(directory / "home")
    try:
        with daemons.client() as client:
            works_again(client)
            lasting = start(client, SLEEP)
            with lowered(client.hello.pid, resource.RLIMIT_FSIZE, 4096):
                try:
                    start(client, "echo no")
                except CorralError as error:
                    demand("journal" in str(error), f"refused without naming the journal: {error}")
                else:
                    raise AssertionError("a job was accepted that cannot have been noted")
                stop_all(client, lasting)
            works_again(client)
            return "refused, stopped, noted later"
    finally:
        daemons.end()


def thousand(directory: Path) -> str:
    """A thousand pipelines at once from a shell with a soft limit of 1,024 descriptors, and as many as smaller hard ones allow."""
    said = []
    for hard in (16384, 4096, 1024):
        with subprocess.Popen(
            itself("for_real", f"thousand-{hard}", str(directory / str(hard))),
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda hard=hard: resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard)),
        ) as process:
            out, _ = process.communicate(timeout=300)
        demand(process.returncode == 0, f"hard limit {hard}: {process.returncode}")
        said.append(f"hard limit {hard}: {out.strip()}")
    return "; ".join(said)


def as_many_as_go(directory: Path) -> str:
    """Pipelines until a thousand run or one is refused; all are stopped."""
    daemons = Daemons(directory / "home")
    ids: list[str] = []
    try:
        with daemons.client() as client:
            refused = ""
            while len(ids) < 1000 and not refused:
                try:
                    ids += start(client, "sleep 300 | sleep 300")
                except CannotStartError as error:
                    demand("descriptors" in str(error), f"refused after {len(ids)}: {error}")
                    refused = ", then refused for want of descriptors"
            (one,) = wait(client, *start(client, ["sh", "-c", "ulimit -Sn"])) if not refused else (None,)
            if one is not None:
                out = Path(daemons.home.stdout(one.id)).read_bytes()
                demand(out == b"1024\n", f"a job has {out!r} for the shell's soft limit of 1024")
            running = client.call(p.ListJobs(), timeout=PATIENCE).jobs
            demand(all(each.state == "running" for each in running), "not all of them run")
            used = _count(client.hello.pid)
            stop_all(client, ids)
            return f"{len(ids)} pipelines at once with {used} descriptors{refused}"
    finally:
        daemons.end()


PARTS: dict[str, Callable[[Path], str]] = {
    part.__name__: part for part in (descriptors, processes, memory, file_size, disk, thousand)
}


if __name__ == "__main__":
    wanted = as_many_as_go if sys.argv[1].startswith("thousand-") else PARTS[sys.argv[1]]
    print(wanted(Path(sys.argv[2])))
