"""Reading /proc. Every function answers None where the process is gone or may not be looked at."""

from __future__ import annotations

import errno
import os
import sys
from typing import NamedTuple

HAS_PROCFS = sys.platform == "linux" and os.path.exists("/proc/self/stat")
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
_NOTHING_TO_LOOK_WITH = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class Stat(NamedTuple):
    """The fields of /proc/PID/stat that Corral uses (proc(5)). CPU times in clock ticks, memory in bytes."""

    pid: int
    name: str
    state: str
    ppid: int
    process_group: int
    session: int
    user_ticks: int
    system_ticks: int
    children_user_ticks: int
    children_system_ticks: int
    started: int
    resident_bytes: int
    wait_status: int
    """What wait(2) will report, meaningful for a zombie only (field 52)."""
    threads: int = 1

    @property
    def has_ended(self) -> bool:
        """A zombie, or dead. One whose first thread has left by pthread_exit(3) reads Z, too, and lives on in its others."""
        return self.state in "ZX" and self.threads <= 1

    @property
    def cpu_seconds(self) -> float:
        return (self.user_ticks + self.system_ticks) / CLOCK_TICKS


def read_file(path: str) -> bytes | None:
    """The whole of a small file under /proc.

    Raises:
        OSError: there is no descriptor or memory to look with, which says nothing about the process.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _NOTHING_TO_LOOK_WITH:
            raise
        return None
    try:
        return os.read(descriptor, 65536)
    except OSError as error:
        if error.errno in _NOTHING_TO_LOOK_WITH:
            raise
        # ESRCH: the process ended between open and read.
        return None
    finally:
        os.close(descriptor)


def read_all(path: str) -> bytes | None:
    """The whole of a file under /proc of any size, such as a table of sockets. Raises as `read_file` does."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.readall()
    except OSError as error:
        if error.errno in _NOTHING_TO_LOOK_WITH:
            raise
        return None


def parse_stat(line: bytes) -> Stat:
    """One line of /proc/PID/stat. The name stands in parentheses and may hold spaces and parentheses itself."""
    opening, closing = line.index(b"("), line.rindex(b")")
    f = line[closing + 2 :].split()
    return Stat(
        int(line[:opening]),
        line[opening + 1 : closing].decode("utf-8", "replace"),
        chr(f[0][0]),
        int(f[1]),
        int(f[2]),
        int(f[3]),
        int(f[11]),
        int(f[12]),
        int(f[13]),
        int(f[14]),
        int(f[19]),
        int(f[21]) * PAGE_SIZE,
        int(f[49]),
        int(f[17]),
    )


def read_stat(pid: int) -> Stat | None:
    """/proc/PID/stat, or what psutil knows of it where there is no /proc."""
    if not HAS_PROCFS:
        return _stat_without_procfs(pid)
    line = read_file(f"/proc/{pid}/stat")
    return parse_stat(line) if line else None


def pids() -> list[int]:
    """Every process of the machine that this user may see."""
    if not HAS_PROCFS:
        import psutil

        return psutil.pids()
    return [int(name) for name in os.listdir("/proc") if name[0] in "123456789"]


def users_of(pid: int) -> tuple[int, int] | None:
    """Its real and its effective user, of /proc/PID/status."""
    for line in (read_file(f"/proc/{pid}/status") or b"").splitlines():
        if line.startswith(b"Uid:"):
            real, effective = line.split()[1:3]
            return int(real), int(effective)
    return None


def thread_count(pid: int) -> int:
    """By the link count of /proc/PID/task, which is 2 and the threads (proc_task_getattr in fs/proc/base.c): 2 µs, where
    reading and searching all of /proc/PID/status takes 19."""
    try:
        return os.stat(f"/proc/{pid}/task").st_nlink - 2
    except OSError:
        return 0


def turnover() -> bytes | None:
    """What changes whenever a process or thread of this machine begins, and nearly always when one is gone; None where
    that is not told. Of proc_loadavg(5): how many there are, and the pid given last. 10 µs.
    """
    fields = (read_file("/proc/loadavg") or b"").split()
    return fields[3].partition(b"/")[2] + b" " + fields[4] if len(fields) == 5 else None


def entries() -> list[os.DirEntry[str]]:
    """The folders in /proc of all processes that this user may see.

    A later process with the same pid has a folder with another inode.
    """
    with os.scandir("/proc") as found:
        return [entry for entry in found if entry.name[0] in "123456789"]


def _stat_without_procfs(pid: int) -> Stat | None:
    import psutil

    letters = {
        psutil.STATUS_RUNNING: "R",
        psutil.STATUS_ZOMBIE: "Z",
        psutil.STATUS_STOPPED: "T",
        psutil.STATUS_DISK_SLEEP: "D",
    }
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            times, memory = process.cpu_times(), process.memory_info()
            return Stat(
                pid,
                process.name(),
                letters.get(process.status(), "S"),
                process.ppid(),
                os.getpgid(pid),
                os.getsid(pid),
                int(times.user * CLOCK_TICKS),
                int(times.system * CLOCK_TICKS),
                0,
                0,
                int(process.create_time() * 1_000_000),
                memory.rss,
                0,
            )
    except (psutil.Error, OSError):
        return None
