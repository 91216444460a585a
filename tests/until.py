"""Waiting for a named condition, never for a time; and programs that end with their test."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

_Found = TypeVar("_Found")
ZOO = os.path.join(os.path.dirname(__file__), "zoo")


def until(condition: Callable[[], _Found], what: str, *, seconds: float = 30.0) -> _Found:
    """Ask `condition` until it is true, and return what it said; AssertionError that names it at the deadline.

    Between two questions it waits for three times as long as the last one took, so that the cores are there for what is
    waited for.
    """
    deadline = time.monotonic() + seconds
    while True:
        asked = time.monotonic()
        if found := condition():
            return found
        now = time.monotonic()
        assert now < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(min(max(0.005, 3 * (now - asked)), 0.2))


@contextlib.contextmanager
def running(*argv: str, **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """A program that is killed and reaped when the block ends."""
    process = subprocess.Popen(argv, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


def python(code: str) -> tuple[str, ...]:
    """The argv of a Python program that starts quickly."""
    return (sys.executable, "-S", "-E", "-c", code)


@contextlib.contextmanager
def zoo(name: str, *arguments: str, **options: object) -> Iterator[tuple[subprocess.Popen[bytes], bytes]]:
    """A program of the zoo whose habit is in place, and what it said after `ready`."""
    argv = (sys.executable, "-S", "-E", os.path.join(ZOO, f"{name}.py"), *arguments)
    with running(*argv, stdout=subprocess.PIPE, **options) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith(b"ready"), line
        yield process, line[5:].strip()
