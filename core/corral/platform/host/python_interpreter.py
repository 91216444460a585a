"""The Python that Corral's own programs run on: the daemon above all."""

from __future__ import annotations

import os
import re
import sys

from corral.model.errors import CorralError

CHOICE = "CORRAL_PYTHON"
_NAMED_SO = re.compile(r"(python|pypy|graalpy)", re.IGNORECASE)


def interpreter() -> str:
    """Its path: `$CORRAL_PYTHON`, else that of this process.

    Raises:
        CorralError: it is no program; or this process is none that takes a module to run, as where Python is embedded or
            frozen: to start it once more would be to start somebody's application.
    """
    chosen = os.environ.get(CHOICE)
    if chosen:
        if not os.path.isabs(chosen) or not os.path.isfile(chosen):
            raise CorralError(
                f"{CHOICE} {chosen} is no program: set it to the path of a Python that has corral"
            )
        return chosen
    problem = _problem(sys.executable)
    if problem is not None:
        raise CorralError(
            f"{problem}, so there is no Python to run the daemon: set {CHOICE} to the path of one that has corral"
        )
    return sys.executable


def _problem(path: str | None) -> str | None:
    if not path:
        return "this program does not say where its Python is (sys.executable is empty)"
    if getattr(sys, "frozen", False):
        return f"{path} is a frozen program"
    # access(2) is not asked: it knows nothing of capabilities that let us run it.
    if not os.path.isfile(path):
        return f"{path} (sys.executable) is no program"
    if _NAMED_SO.match(os.path.basename(path)) or _is_what_was_started(path):
        return None
    return f"{path} (sys.executable) is a program with a Python inside"


def _is_what_was_started(path: str) -> bool:
    """Whether this process is an interpreter, of whatever name: one that is embedded has no such command line."""
    return os.path.basename(path) == os.path.basename(next(iter(sys.orig_argv), ""))
