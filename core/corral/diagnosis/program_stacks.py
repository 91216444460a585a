"""Where the threads of a Python or Java program stand, from what py-spy and jcmd print. Pure."""

from __future__ import annotations

import re

import msgspec

from corral.model.reports import Frame, PythonStack
from corral.model.text import one_line

MOST_FRAMES = 8
MOST_THREADS = 16
"""Of one process, the first ones: a server's pool of threads stands in one place."""
_LIBRARY_FILE = re.compile(r"/python\d[\d.]*t?/|/(site|dist)-packages/|\.zip/|^<frozen |^<__array_function__")
"""Files of Python itself and of installed packages."""


class _Frame(msgspec.Struct):
    name: str
    filename: str
    line: int


class _Thread(msgspec.Struct):
    frames: list[_Frame]
    os_thread_id: int | None = None
    thread_name: str | None = None


def python_stacks(dump: bytes, pid: int, stage: int | None, name: str) -> tuple[PythonStack, ...]:
    """The stacks in the output of `py-spy dump --json`, the program's first thread first.

    Raises:
        ValueError: that is no such output.
    """
    try:
        threads = msgspec.json.decode(dump, type=list[_Thread])
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None
    threads.sort(key=lambda thread: (thread.os_thread_id != pid, thread.os_thread_id or 0))
    return tuple(
        _python_stack(thread, pid, stage, name) for thread in threads[:MOST_THREADS] if thread.frames
    )


def _python_stack(thread: _Thread, pid: int, stage: int | None, name: str) -> PythonStack:
    chosen = informative_frames(tuple(Frame(f.filename, f.line, f.name) for f in thread.frames))
    return PythonStack(
        pid=pid,
        stage=stage,
        name=name,
        thread=thread.os_thread_id,
        thread_name=one_line(thread.thread_name) if thread.thread_name else None,
        frames=tuple(Frame(one_line(f.file), f.line, one_line(f.function)) for f in chosen),
        left_out=len(thread.frames) - len(chosen),
    )


def informative_frames(frames: tuple[Frame, ...], most: int = MOST_FRAMES) -> tuple[Frame, ...]:
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
    return _LIBRARY_FILE.search(frame.file) is None


_JAVA_THREAD = re.compile(r'^"(?P<name>.*)" #\d+ (?P<rest>.*)$')
_NUMBER = re.compile(r"nid=(0x[0-9a-f]+|\d+)")
_FRAME = re.compile(r"^\s+at (?P<function>[^(]+)\((?:[^/)]*/)?(?P<file>[^:)]+)(?::(?P<line>\d+))?\)$")
_LIBRARY_FUNCTION = re.compile(r"^(java|javax|jdk|sun|com\.sun|kotlin|scala|groovy)\.")
_DEADLOCK = "Java-level deadlock:"
_WAITER = re.compile(r'^"(?P<name>.*)":$')
_HOLDER = re.compile(r'^\s+which is held by "(?P<name>.*)"$')


def deadlock_in(dump: str) -> dict[str, str]:
    """Each thread of the first deadlock that Java itself has found, and the one whose lock it waits for."""
    _, found, rest = dump.partition(_DEADLOCK)
    threads: dict[str, str] = {}
    waiter = None
    for line in rest.splitlines() if found else ():
        if line.startswith(("Java stack information", "Found ")):
            break
        if match := _WAITER.match(line):
            waiter = match["name"]
        elif (match := _HOLDER.match(line)) and waiter is not None:
            threads[waiter] = match["name"]
    return threads


def deadlock_in_words(threads: dict[str, str]) -> str:
    """To complete a sentence that begins with the name of the program."""
    names = " and ".join(f"“{one_line(name)}”" for name in sorted(threads)[:4])
    return f"has {len(threads)} threads, {names}, that wait for each other's locks"


def java_stacks(dump: str, pid: int, stage: int | None, name: str) -> tuple[PythonStack, ...]:
    """The stacks of the program's own threads, its main one first; those of Java itself, which are daemons, say nothing."""
    found: list[PythonStack] = []
    for block in dump.partition("JNI global ref")[0].split("\n\n"):
        lines = block.strip("\n").splitlines()
        head = _JAVA_THREAD.match(lines[0]) if lines else None
        if head is None or " daemon " in f" {head['rest']} ":
            continue
        frames = [_frame(match) for line in lines[1:] if (match := _FRAME.match(line))]
        if frames:
            found.append(_java_stack(head, frames, pid, stage, name))
    found.sort(key=lambda one: one.thread_name != "main")
    return tuple(found[:MOST_THREADS])


def _frame(match: re.Match[str]) -> Frame:
    return Frame(one_line(match["file"]), int(match["line"] or 0), one_line(match["function"]))


def _java_stack(
    head: re.Match[str], frames: list[Frame], pid: int, stage: int | None, name: str
) -> PythonStack:
    # What Java makes by itself, a lambda's class say, has no line.
    own = [
        place
        for place, frame in enumerate(frames)
        if frame.line and not _LIBRARY_FUNCTION.match(frame.function)
    ]
    wanted = sorted(list(dict.fromkeys([0, *own]))[:MOST_FRAMES])
    number = _NUMBER.search(head["rest"])
    return PythonStack(
        pid=pid,
        stage=stage,
        name=name,
        thread=int(number[1], 0) if number else None,
        thread_name=one_line(head["name"]),
        frames=tuple(frames[place] for place in wanted),
        left_out=len(frames) - len(wanted),
        language="java",
    )
