"""The tree of a job as rows: leaders first, children below their parents. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from corral.commandline.program_name import program_words
from corral.model.job import ProcessView
from corral_tui.dashboard.paint.job_words import command_words
from corral_tui.dashboard.paint.lines import Line, clean, cut
from corral_tui.text import numbers
from corral_tui.text.charset import Charset


def in_tree_order(processes: Sequence[ProcessView]) -> list[tuple[int, ProcessView]]:
    """(depth, process), each behind its parent where that is in the tree. A cycle, which a race can feign, ends it."""
    known = {one.pid for one in processes}
    children: dict[int | None, list[ProcessView]] = {}
    for one in sorted(processes, key=lambda one: one.pid):
        parent = one.parent_pid if one.parent_pid in known and one.parent_pid != one.pid else None
        children.setdefault(parent, []).append(one)
    roots = sorted(children.get(None, []), key=lambda one: (one.stage or 0, not one.is_leader, one.pid))
    ordered: list[tuple[int, ProcessView]] = []
    seen: set[int] = set()
    waiting = [(0, one) for one in reversed(roots)]
    while waiting:
        depth, one = waiting.pop()
        if one.pid in seen:
            continue
        seen.add(one.pid)
        ordered.append((depth, one))
        waiting += [(depth + 1, child) for child in reversed(children.get(one.pid, []))]
    return ordered + [(0, one) for one in processes if one.pid not in seen]


def tree_heading(width: int) -> Line:
    return [(_columns("PID", "NAME", "CPU%", "MEM", _name_room(width)) + "WHAT IT DOES", "muted")]


def _name_room(width: int) -> int:
    return 14 if width < 70 else 26 if width < 110 else 40


def _columns(pid: str, name: str, cpu: str, memory: str, room: int) -> str:
    return f" {pid:>7} {numbers.left(name, room)} {cpu:>4} {memory:>5}  "


def tree_lines(
    processes: Sequence[ProcessView], bottleneck_pid: int | None, width: int, charset: Charset
) -> list[Line]:
    """A row a process, in tree order."""
    room = _name_room(width)
    lines: list[Line] = []
    for depth, one in in_tree_order(processes):
        stage = f"{one.stage} " if one.is_leader and one.stage else ""
        mark = f"{charset.bottleneck} " if one.pid == bottleneck_pid else ""
        shown = command_words(one.command or one.name) if width >= 110 else _short_name(one)
        name = numbers.cut_end("  " * min(depth, 6) + mark + stage + shown, room, charset.ellipsis)
        row = _columns(str(one.pid), name, numbers.cpu(one.cpu_percent), numbers.size(one.memory_bytes), room)
        line: Line = [(row, "plain"), (clean(one.does or _state_words(one.state)), "muted")]
        if one.where not in ("leader", "child"):
            line.append((f"  in {clean(one.where)}", "accent"))
        lines.append(cut(line, width, charset.ellipsis))
    return lines


def _short_name(one: ProcessView) -> str:
    """Of an interpreter what it runs; a wrapper that has not become its program stands for itself."""
    words = program_words(one.command.split()) if one.name.startswith("python") else ()
    return clean(words[0] if words else one.name)


def _state_words(state: str) -> str:
    """The kernel's letters (proc(5), stat, field 3)."""
    words = {
        "R": "runs",
        "S": "waits",
        "D": "blocked in the kernel",
        "T": "stopped",
        "Z": "ended, not yet collected",
    }
    return words.get(state, "")
