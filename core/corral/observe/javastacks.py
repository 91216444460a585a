"""What jcmd tells of a Java program: where each thread stands, and which wait for each other's locks. Pure."""

from __future__ import annotations

import re

from corral.observe.pythonstacks import MOST_FRAMES, MOST_THREADS
from corral.values.reports import Frame, PythonStack
from corral.values.text import one_line

_THREAD = re.compile(r'^"(?P<name>.*)" #\d+ (?P<rest>.*)$')
_NUMBER = re.compile(r"nid=(0x[0-9a-f]+|\d+)")
_FRAME = re.compile(r"^\s+at (?P<function>[^(]+)\((?:[^/)]*/)?(?P<file>[^:)]+)(?::(?P<line>\d+))?\)$")
_NOT_OWN = re.compile(r"^(java|javax|jdk|sun|com\.sun|kotlin|scala|groovy)\.")
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


def stacks_of(dump: str, pid: int, stage: int | None, name: str) -> tuple[PythonStack, ...]:
    """The stacks of the program's own threads, its main one first; those of Java itself, which are daemons, say nothing."""
    found: list[PythonStack] = []
    for block in dump.partition("JNI global ref")[0].split("\n\n"):
        lines = block.strip("\n").splitlines()
        head = _THREAD.match(lines[0]) if lines else None
        if head is None or " daemon " in f" {head['rest']} ":
            continue
        frames = [_frame(match) for line in lines[1:] if (match := _FRAME.match(line))]
        if frames:
            found.append(_stack(head, frames, pid, stage, name))
    found.sort(key=lambda one: one.thread_name != "main")
    return tuple(found[:MOST_THREADS])


def _frame(match: re.Match[str]) -> Frame:
    return Frame(one_line(match["file"]), int(match["line"] or 0), one_line(match["function"]))


def _stack(head: re.Match[str], frames: list[Frame], pid: int, stage: int | None, name: str) -> PythonStack:
    # What Java makes by itself, a lambda's class say, has no line.
    own = [place for place, frame in enumerate(frames) if frame.line and not _NOT_OWN.match(frame.function)]
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
