"""py-spy, a program that reads the stack of a running Python program: where it is, what it may look at, what it asks.

It reads the other's memory by process_vm_readv(2), which takes the right to attach to it (PTRACE_MODE_ATTACH, ptrace(2)).
Under the usual ptrace_scope of 1 only an ancestor has that, or who is privileged (Yama, Documentation/admin-guide/LSM).
py-spy is a child of the daemon, as the job is, and no ancestor of it.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence

from corral.platform.host.procfs import HAS_PROCFS, read_all
from corral.platform.inspect.ptrace_access import ptrace_scope, why_closed

PROGRAM = "py-spy"
_INTERPRETER = re.compile(r"python[0-9.]*[a-z]{0,2}( \(deleted\))?")
"""A name such as `python3.13t`: the letters are those of builds with debugging or without the global lock."""
_LIBRARY = re.compile(rb"/libpython[0-9.]*[a-z]{0,2}\.so|/Python\.framework/")


def on_path(directories: Sequence[str] | None = None) -> str | None:
    """py-spy on this process's PATH, by its full path. Relative entries are passed over: a job's directory has no say."""
    for directory in os.get_exec_path() if directories is None else directories:
        found = os.path.join(directory, PROGRAM)
        if os.path.isabs(directory) and os.path.isfile(found) and os.access(found, os.X_OK):
            return found
    return None


def beside_interpreter() -> str | None:
    """py-spy where this program's own packages have put their commands, as `pip install 'corral[stacks]'` does."""
    return on_path([os.path.dirname(sys.executable)]) if sys.executable else None


def is_python(pid: int) -> bool:
    """Whether it runs CPython, by its program or by a library that it has mapped. False where neither may be looked at."""
    if not HAS_PROCFS:
        return False
    try:
        program = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
    except OSError:
        return False
    if _INTERPRETER.fullmatch(program):
        return True
    return _LIBRARY.search(read_all(f"/proc/{pid}/maps") or b"") is not None


def command(program: str, pid: int) -> tuple[str, ...]:
    """The argv that prints the stacks of `pid` as JSON. Without --nonblocking py-spy stops the other with ptrace(2)."""
    return (program, "dump", "--json", "--nonblocking", "--full-filenames", "--pid", str(pid))


def why_refused(pid: int) -> str:
    """Why the kernel does not let py-spy look at a process, as far as that is to be known."""
    reason = why_closed(pid)
    if reason is not None:
        return f"{reason}, so only root may look into it"
    return {
        1: "the kernel lets only the programs that started it look into it, and py-spy is none (ptrace_scope 1)",
        2: "the kernel lets only root look into it (ptrace_scope 2)",
        3: "the kernel lets nobody look into it (ptrace_scope 3)",
    }.get(ptrace_scope(), "the kernel does not let py-spy look into it")


def may_help_as_root() -> bool:
    """Whether root could look: not under ptrace_scope 3."""
    return ptrace_scope() != 3
