"""Memory that processes share, as a lock in it is found from outside: by /proc/PID/maps (proc_pid_maps(5))."""

from __future__ import annotations

from typing import NamedTuple

from corral.system.procfs import read_all


class SharedMemory(NamedTuple):
    """`device` is `major:minor` in hexadecimal digits. `path` is None for memory without a name."""

    device: str
    inode: int
    path: str | None = None


def shared_memory(pid: int, address: int) -> SharedMemory | None:
    """The shared mapping at `address`; None where that is private memory, or may not be looked at."""
    for line in (read_all(f"/proc/{pid}/maps") or b"").splitlines():
        fields = line.split(maxsplit=5)
        first, _, last = fields[0].partition(b"-")
        if int(first, 16) <= address < int(last, 16):
            return _shared(fields)
    return None


def _shared(fields: list[bytes]) -> SharedMemory | None:
    if fields[1][3:4] != b"s":
        return None
    path = fields[5].decode("utf-8", "replace") if len(fields) > 5 else None
    # Memory that was never given a name is a deleted /dev/zero (mm/shmem.c).
    has_name = path is not None and not path.startswith("/dev/zero")
    return SharedMemory(fields[3].decode(), int(fields[4]), path if has_name else None)


def shares(pid: int, memory: SharedMemory) -> bool:
    """Whether `pid` has it mapped, too."""
    wanted = f" {memory.device} {memory.inode} ".encode()
    text = read_all(f"/proc/{pid}/maps") or b""
    return wanted in text or wanted.rstrip() + b"\n" in text
