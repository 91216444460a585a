"""Advice for a Python program that seems to print nothing: it buffers up to 8 KiB of output that goes to no terminal."""

from __future__ import annotations

import stat
from collections.abc import Sequence

from msgspec import structs

from corral.model.job import Job
from corral.model.reports import Advice, Diagnosis
from corral.platform.files.file_kind import kind_of
from corral.platform.host.procfs import read_all
from corral.platform.inspect.py_spy import is_python

_MOST_PROCESSES = 8
_ADVICE = (
    Advice("print at once: Python buffers", "corral run -e PYTHONUNBUFFERED=1 …"),
    Advice("or as well", "python -u …, corral run --pty …"),
)


def with_buffering_advice(found: Diagnosis, job: Job, printed: int) -> Diagnosis:
    """The same with advice how to unbuffer, if the job runs such a program and has printed nothing yet."""
    if job.pty or printed or job.state != "running":
        return found
    own = [wait.pid for wait in found.waits if wait.stage is not None and wait.kind != "zombie"]
    if not any(map(_is_buffering, own[:_MOST_PROCESSES])):
        return found
    # Before what always helps.
    place = next((n for n, each in enumerate(found.advice) if each.text == "stop it"), len(found.advice))
    return structs.replace(found, advice=(*found.advice[:place], *_ADVICE, *found.advice[place:]))


def _is_buffering(pid: int) -> bool:
    output = kind_of(f"/proc/{pid}/fd/1")
    if output is None or not (stat.S_ISREG(output.mode) or stat.S_ISFIFO(output.mode)) or not is_python(pid):
        return False
    environment = (read_all(f"/proc/{pid}/environ") or b"").split(b"\0")
    return not (
        any(each.startswith(b"PYTHONUNBUFFERED=") and each[17:] for each in environment)
        or is_unbuffered((read_all(f"/proc/{pid}/cmdline") or b"").split(b"\0"))
    )


def is_unbuffered(argv: Sequence[bytes]) -> bool:
    """Whether `-u` stands among the options of a Python's command line, alone or with others (`-Iu`)."""
    words = iter(argv[1:])
    for word in words:
        if word[:1] != b"-" or word in (b"-", b"--"):
            return False
        if word.startswith(b"--"):
            continue
        for place, letter in enumerate(word[1:].decode("latin-1"), 1):
            if letter == "u":
                return True
            if letter in "cm":
                return False
            if letter in "WX":
                if place == len(word) - 1:
                    next(words, None)
                break
    return False
