"""A job's processes as a screen shows them: who each is, where it stands, what it does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from corral.measure.sampler import Usage
from corral.model.job import ProcessView
from corral.model.text import one_line
from corral.platform.host.procfs import HAS_PROCFS, Stat, read_file, read_stat
from corral.platform.process.identity import ProcessIdentity
from corral.waits.process_wait import ProcessWait, short_text

COMMAND_LENGTH = 4096
"""Characters of a command line that are kept."""


class TreeMember(NamedTuple):
    """One process of the tree, and the stage that its mark names."""

    identity: ProcessIdentity
    stage: int | None


def process_views(
    members: Iterable[TreeMember],
    leaders: Mapping[int, ProcessIdentity],
    *,
    usages: Mapping[ProcessIdentity, Usage] | None = None,
    cpu_percents: Mapping[ProcessIdentity, float] | None = None,
    waits: Mapping[int, ProcessWait] | None = None,
    pipes: Mapping[int, int] | None = None,
    input_pipe: int | None = None,
) -> tuple[ProcessView, ...]:
    """The processes that are still there, leaders first, then by stage and pid. 20 µs each.

    `leaders`: stage number to the process that was started for it. `waits` is by pid, `pipes` inode to pipe number;
    what is not given is not shown.
    """
    present = [(member, stat) for member in members if (stat := _read(member.identity)) is not None]
    pids = {member.identity.pid for member, _ in present}
    sessions = {number: leader.pid for number, leader in leaders.items()}
    found = []
    for member, stat in present:
        is_leader = member.stage is not None and leaders.get(member.stage) == member.identity
        found.append(
            _process(
                member,
                stat,
                is_leader=is_leader,
                where="leader" if is_leader else where_of(stat, sessions.get(member.stage or 0), pids),
                usage=(usages or {}).get(member.identity),
                cpu_percent=(cpu_percents or {}).get(member.identity),
                does=_does((waits or {}).get(stat.pid), stat, pipes or {}, input_pipe),
            )
        )
    return tuple(sorted(found, key=_order))


def where_of(stat: Stat, leader_session: int | None, pids: set[int]) -> str:
    """What a plain kill of the leader's group or session would miss of a process that is no leader.

    Each stage starts a session of its own, so its number is the leader's pid. A process whose parent is none of the tree
    any more was left to the daemon (PR_SET_CHILD_SUBREAPER), or to init.
    """
    if leader_session is None or stat.session == leader_session:
        return "child"
    return "its own session" if stat.ppid in pids else "its own session, forked off"


def command_of(pid: int, name: str) -> str:
    """Its command line in one line, made harmless; its name in brackets where it has none, as a zombie or a kernel thread."""
    raw = read_file(f"/proc/{pid}/cmdline") if HAS_PROCFS else None
    text = one_line((raw or b"").rstrip(b"\0").replace(b"\0", b" ")[: 4 * COMMAND_LENGTH])
    return text[:COMMAND_LENGTH] if text else f"[{one_line(name)}]"


def _read(identity: ProcessIdentity) -> Stat | None:
    stat = read_stat(identity.pid)
    return stat if stat is not None and stat.started == identity.started else None


def _process(
    member: TreeMember,
    stat: Stat,
    *,
    is_leader: bool,
    where: str,
    usage: Usage | None,
    cpu_percent: float | None,
    does: str | None,
) -> ProcessView:
    return ProcessView(
        pid=stat.pid,
        name=one_line(stat.name),
        command=command_of(stat.pid, stat.name),
        parent_pid=stat.ppid,
        stage=member.stage,
        is_leader=is_leader,
        where=where,
        state=stat.state,
        cpu_percent=cpu_percent,
        memory_bytes=stat.resident_bytes if usage is None else usage.memory_bytes,
        does=does,
    )


def _does(
    wait: ProcessWait | None, stat: Stat, pipes: Mapping[int, int], input_pipe: int | None
) -> str | None:
    """In words; the state letter alone tells of a process that runs, is stopped or has ended."""
    if wait is None:
        return {"R": "runs", "T": "is suspended", "Z": "has ended"}.get(stat.state)
    number = None if wait.pipe is None else pipes.get(wait.pipe)
    is_input = wait.pipe is not None and wait.pipe == input_pipe and wait.kind == "pipe_read"
    return one_line(short_text(wait, number, is_input=is_input))


def _order(process: ProcessView) -> tuple[bool, int, int]:
    return not process.is_leader, process.stage or 0, process.pid
