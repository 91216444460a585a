"""How much a program can be given: its arguments and environment, as execve(2) bounds them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

LONGEST_STRING = 32 * os.sysconf("SC_PAGESIZE")
"""MAX_ARG_STRLEN: bytes of one argument, or of one NAME=value, the NUL at its end included."""
MOST = 6 << 20
"""Bytes of all together, pointers to them included, whatever the stack may be: three quarters of the usual one (8 MiB)."""
LEAST = 128 << 10
"""The same with the smallest stack."""
_POINTER = 8

Environment = Mapping[bytes, bytes]


def room(stack: int) -> int:
    """Bytes that there is room for with a soft limit of the stack, -1 for none: a quarter of it."""
    return MOST if stack < 0 else max(LEAST, min(MOST, stack // 4))


def why_not(program: str, argv: Sequence[bytes], environment: Environment, stack: int) -> str | None:
    """What the kernel would refuse (E2BIG), and its limit; None where it fits, and where the system has other limits."""
    size = _size(program, argv, environment)
    if size <= LEAST or sys.platform != "linux":
        return None
    longest = max(map(len, argv), default=0) + 1
    if longest > LONGEST_STRING:
        return (
            f"one of its arguments has {longest - 1:,} bytes, and the kernel takes at most {LONGEST_STRING - 1:,}"
            " in one: give it by a file or stdin"
        )
    for name, value in environment.items():
        if len(name) + len(value) + 2 > LONGEST_STRING:
            return (
                f"the variable {os.fsdecode(name[:80])} has {len(value):,} bytes, and the kernel takes at most"
                f" {LONGEST_STRING - 2 - len(name):,} in it"
            )
    if size > room(stack):
        return (
            f"its arguments and environment take {size:,} bytes, and the kernel takes at most {room(stack):,}, a quarter"
            " of the stack limit (ulimit -s) or 6 MiB: give them by a file or stdin, or to several runs"
        )
    return None


def _size(program: str, argv: Sequence[bytes], environment: Environment) -> int:
    """As fs/exec.c counts: each string with its NUL and a pointer, and the name of the file."""
    strings = sum(map(len, argv)) + sum(map(len, environment)) + sum(map(len, environment.values()))
    ends = len(argv) + 2 * len(environment) + 1
    pointers = len(argv) + len(environment)
    return strings + ends + pointers * _POINTER + len(os.fsencode(program))
