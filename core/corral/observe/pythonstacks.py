"""What py-spy tells of a Python program: where each thread stands, in the frames that say most. Pure."""

from __future__ import annotations

import re

import msgspec

from corral.values.reports import Frame, PythonStack
from corral.values.text import one_line

MOST_FRAMES = 8
MOST_THREADS = 16
"""Of one process, the first ones: a server's pool of threads stands in one place."""
_NOT_OWN = re.compile(r"/python\d[\d.]*t?/|/(site|dist)-packages/|\.zip/|^<frozen |^<__array_function__")
"""Files of Python itself and of installed packages."""


class _Frame(msgspec.Struct):
    name: str
    filename: str
    line: int


class _Thread(msgspec.Struct):
    frames: list[_Frame]
    os_thread_id: int | None = None
    thread_name: str | None = None


def stacks_of(dump: bytes, pid: int, stage: int | None, name: str) -> tuple[PythonStack, ...]:
    """The stacks in the output of `py-spy dump --json`, the program's first thread first.

    Raises:
        ValueError: that is no such output.
    """
    try:
        threads = msgspec.json.decode(dump, type=list[_Thread])
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None
    threads.sort(key=lambda thread: (thread.os_thread_id != pid, thread.os_thread_id or 0))
    return tuple(_stack(thread, pid, stage, name) for thread in threads[:MOST_THREADS] if thread.frames)


def _stack(thread: _Thread, pid: int, stage: int | None, name: str) -> PythonStack:
    chosen = telling_frames(tuple(Frame(f.filename, f.line, f.name) for f in thread.frames))
    return PythonStack(
        pid=pid,
        stage=stage,
        name=name,
        thread=thread.os_thread_id,
        thread_name=one_line(thread.thread_name) if thread.thread_name else None,
        frames=tuple(Frame(one_line(f.file), f.line, one_line(f.function)) for f in chosen),
        left_out=len(thread.frames) - len(chosen),
    )


def telling_frames(frames: tuple[Frame, ...], most: int = MOST_FRAMES) -> tuple[Frame, ...]:
    """At most `most` of a stack, in its order, the innermost first.

    That one is always among them. Of the others those of the program's own files come first; those of the libraries
    that started it all, outside of every own one, say nothing.
    """
    own = [place for place, frame in enumerate(frames) if is_own(frame)]
    within = range(own[-1] + 1) if own else range(len(frames))
    wanted = dict.fromkeys([0, *own, *within])
    return tuple(frames[place] for place in sorted(list(wanted)[:most]) if place < len(frames))


def is_own(frame: Frame) -> bool:
    """Whether it stands in a file of the program itself, not of Python or of an installed package."""
    return _NOT_OWN.search(frame.file) is None
