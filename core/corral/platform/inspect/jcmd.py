"""jcmd, a program of the JDK that makes a running Java program print where its threads stand (jcmd(1)).

It asks by a socket that the Java program opens when it gets SIGQUIT. So one that would end by that signal (`-Xrs`) is not
asked, nor one that is suspended and would not answer.
"""

from __future__ import annotations

import os
import re
import signal

from corral.platform.host.path_trust import why_untrusted_program
from corral.platform.host.procfs import read_file
from corral.platform.inspect.fdinfo import has_signal

_FIELD = re.compile(rb"^(\w+):\t(.*)$", re.MULTILINE)


def is_java(pid: int) -> bool:
    return _program(pid) is not None


def _program(pid: int) -> str | None:
    try:
        program = os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return None
    return program if os.path.basename(program) == "java" else None


def jcmd_of(pid: int) -> str | None:
    """Where a JDK has the jcmd of the java that runs as `pid`, which is of its version; a JRE has none. Not looked at."""
    program = _program(pid)
    return None if program is None else os.path.join(os.path.dirname(program), "jcmd")


def why_not_asked(pid: int, jcmd: str) -> str | None:
    """Why a Java program is not asked; None where it may be."""
    fields = dict(_FIELD.findall(read_file(f"/proc/{pid}/status") or b""))
    if not fields:
        return "it has ended"
    if not os.access(jcmd, os.X_OK):
        return "there is no jcmd beside its java; it is in a JDK"
    if fields[b"Uid"].split()[1] != str(os.geteuid()).encode():
        return "it belongs to another user"
    if len(fields.get(b"NSpid", b"").split()) > 1:
        return "it is in a container"
    if fields[b"State"][:1] in (b"T", b"t"):
        return "it is suspended"
    if not has_signal(int(fields[b"SigCgt"], 16), signal.SIGQUIT):
        return "it would end by the signal that asks it (-Xrs)"
    return why_untrusted_program(jcmd)


def command(jcmd: str, pid: int) -> tuple[str, ...]:
    """The argv that prints all threads of `pid`, with the locks that they hold and a deadlock where there is one."""
    return (jcmd, str(pid), "Thread.print", "-l")
