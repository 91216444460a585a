"""What a file that cannot be executed is: a program that lacks the permission, a script, or no program at all."""

from __future__ import annotations

import os

_BEGINNINGS = (b"#!", b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
"""What execve(2) takes: a script with its interpreter, ELF; on macOS Mach-O of one and of several architectures."""
_SCRIPTS = frozenset((".bash", ".js", ".lua", ".php", ".pl", ".py", ".rb", ".sh", ".tcl", ".zsh"))


def advice_on(path: str) -> str:
    """What to do about a file that exists and may not be executed; `chmod` only where it would help."""
    if not os.path.isfile(path):
        return "it is no program"
    try:
        with open(path, "rb") as file:
            beginning = file.read(4)
    except OSError:
        return "you may neither read nor execute it"
    if beginning.startswith(_BEGINNINGS):
        return "chmod +x lets it run"
    if os.path.splitext(path)[1] in _SCRIPTS:
        return "it has no #! line: put its interpreter in front"
    return "it is no program"
