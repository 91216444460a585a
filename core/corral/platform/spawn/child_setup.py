"""Settings that a child applies to itself between fork and exec, since its parent cannot have them during the spawn.

A stand-in runs this too (`corral.platform.spawn.stand_in`), so it imports nothing but the standard library and what is sent along.
"""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from corral.model.errors import CannotStartError

LIMIT_NAMES = {
    number: name.removeprefix("RLIMIT_")
    for name, number in vars(resource).items()
    if name.startswith("RLIMIT_") and name != "RLIMIT_OFILE"
}
"""The limits this platform has, by number; RLIMIT_LOCKS, which the module does not name, is not among them."""

_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 24, 38, 47
_PR_CAP_AMBIENT_RAISE, _PR_CAP_AMBIENT_CLEAR_ALL = 2, 4
_CAPABILITY_VERSION_3 = 0x20080522
"""linux/prctl.h, linux/capability.h."""
_WORD = 32


def apply_settings(wanted: Mapping[str, Any]) -> None:
    """Take all of it, in the order in which one does not stand in the way of the next. Keys that may be there:

    `policy`: of scheduling, and its priority; `nice`; `groups`, `group`; `limits`: number and pair of each;
    `bounding`: capabilities to drop from that set; `inheritable` and `ambient`: what these sets are to be;
    `no_new_privs`.

    Raises:
        CannotStartError: 125; it says what the kernel refused.
    """
    what = ""
    try:
        for what, take, *arguments in _steps(wanted):  # noqa: B007  (it is named below)
            take(*arguments)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise CannotStartError(f"the client's {what} could not be given to it: {why}", 125) from None


_Step = tuple[str, Callable[..., object], *tuple[Any, ...]]


def _steps(wanted: Mapping[str, Any]) -> Iterator[_Step]:
    if "policy" in wanted:
        policy, priority = wanted["policy"]
        yield "scheduling policy", os.sched_setscheduler, 0, policy, os.sched_param(priority)
    if "nice" in wanted:
        yield f"nice value {wanted['nice']}", os.setpriority, os.PRIO_PROCESS, 0, wanted["nice"]
    for number, pair in wanted.get("limits", ()):
        yield f"limit {LIMIT_NAMES.get(number, number)}", resource.setrlimit, number, pair
    if "groups" in wanted:
        yield "groups", os.setgroups, wanted["groups"]
    if "group" in wanted:
        yield "group", os.setgid, wanted["group"]
    if "inheritable" in wanted:
        for bit in _bits(wanted["bounding"]):
            yield "capabilities", _prctl, _PR_CAPBSET_DROP, bit
        yield "capabilities", _set_inheritable, wanted["inheritable"]
        yield "capabilities", _prctl, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL
        for bit in _bits(wanted["ambient"]):
            yield "capabilities", _prctl, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, bit
    if "no_new_privs" in wanted:
        yield "no_new_privs", _prctl, _PR_SET_NO_NEW_PRIVS, 1


def _bits(mask: int) -> Iterator[int]:
    return (bit for bit in range(mask.bit_length()) if mask >> bit & 1)


def _prctl(option: int, *arguments: int) -> None:
    padded = (*arguments, 0, 0, 0, 0)[:4]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, *map(ctypes.c_ulong, padded)):
        _raise_errno()


def _set_inheritable(mask: int) -> None:
    """The other two sets stay: execve(2) recomputes them (capabilities(7))."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()
    if libc.capget(header, sets):
        _raise_errno()
    sets[2], sets[5] = mask & (1 << _WORD) - 1, mask >> _WORD
    if libc.capset(header, sets):
        _raise_errno()


def _raise_errno() -> None:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number))
