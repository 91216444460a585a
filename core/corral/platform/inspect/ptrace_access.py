"""Permission to look into a process: why the kernel refuses, in words.

/proc/PID/syscall, mem and process_vm_readv(2) ask for the right to attach (PTRACE_MODE_ATTACH, ptrace(2)); fd, exe and
wchan for the right to read (PTRACE_MODE_READ), which ptrace_scope leaves alone. Both are refused for processes of
other users, for set-uid programs and for those that cleared their dumpable flag (prctl(2), PR_SET_DUMPABLE): the files in
their /proc/PID belong to root.
"""

from __future__ import annotations

import os

from corral.platform.host.path_trust import user_name
from corral.platform.host.procfs import read_file, users_of

_OF_SCOPE = {
    1: "only a program that started it may see what it waits for, and this daemon did not (ptrace_scope 1)",
    2: "only root may see what it waits for (ptrace_scope 2)",
    3: "nobody may see what it waits for (ptrace_scope 3)",
}


def ptrace_scope() -> int:
    """The setting of Yama (Documentation/admin-guide/LSM/Yama.rst); 0 where the kernel has none."""
    text = read_file("/proc/sys/kernel/yama/ptrace_scope")
    return int(text) if text and text.strip().isdigit() else 0


def why_hidden(pid: int) -> str:
    """Why the system call of a process may not be read, as a sentence that goes on from its name."""
    reason = why_closed(pid)
    if reason is not None:
        return f"{reason}, so only root may see what it waits for"
    return _OF_SCOPE.get(ptrace_scope(), "the kernel does not show its system call")


def why_closed(pid: int) -> str | None:
    """Why nobody but root may look into a process; None where neither its user nor itself closes it."""
    mine = os.geteuid()
    users = users_of(pid)
    if mine == 0 or users is None:
        return None
    real, effective = users
    if real != mine:
        return f"it belongs to {user_name(real)}"
    if effective != mine:
        return f"it has the rights of {user_name(effective)} (set-uid)"
    try:
        # Of the folder above it the process's user stays the owner (task_dump_owner in fs/proc/base.c).
        is_closed = os.stat(f"/proc/{pid}/fd").st_uid != mine
    except OSError:
        return None
    return "it has rights of its own, or hides its memory" if is_closed else None


def why_not_signalled(pid: int, default: str = "the kernel does not let us signal it") -> str:
    """Why the kernel refuses a signal (kill(2), EPERM), and what ends the process; `default` where its user is ours."""
    users = users_of(pid)
    if users is None or os.geteuid() in (0, users[0]):
        return default
    return f"it belongs to {user_name(users[0])}, whose processes we are not permitted to signal; sudo kill {pid} ends it"
