"""A job's processes as a screen shows them: who each is, where it stands, what it does."""

from __future__ import annotations

from collections.abc import Mapping

from corral.measure.sampler import Usage
from corral.model.job import ProcessView
from corral.model.text import one_line
from corral.platform.host.procfs import HAS_PROCFS, Stat, read_file, read_stat
from corral.platform.process.identity import ProcessIdentity

COMMAND_LENGTH = 4096
"""Characters of a command line that are kept."""
_STATES = {"R": "runs", "T": "is suspended", "Z": "has ended"}
"""What the kernel's letter alone tells."""


def process_views(
    members: Mapping[ProcessIdentity, int | None],
    leaders: Mapping[int, ProcessIdentity],
    usages: Mapping[ProcessIdentity, Usage],
    cpu_percents: Mapping[ProcessIdentity, float],
    does: Mapping[int, str],
) -> tuple[ProcessView, ...]:
    """The processes that are still there, leaders first, then by stage and pid. 20 µs each.

    `members`: each with the stage that its mark names. `leaders`: stage number to the process that was started for it.
    `does`, by pid: what each does, in words.
    """
    present = {member: stat for member in members if (stat := _read(member)) is not None}
    pids = {member.pid for member in present}
    found = []
    for member, stat in present.items():
        stage, usage = members[member], usages.get(member)
        leader = None if stage is None else leaders.get(stage)
        is_leader = leader == member
        view = ProcessView(
            pid=stat.pid,
            name=one_line(stat.name),
            command=command_of(stat.pid, stat.name),
            parent_pid=stat.ppid,
            stage=stage,
            is_leader=is_leader,
            where="leader" if is_leader else where_of(stat, None if leader is None else leader.pid, pids),
            state=stat.state,
            cpu_percent=cpu_percents.get(member),
            memory_bytes=stat.resident_bytes if usage is None else usage.memory_bytes,
            does=one_line(does[stat.pid]) if stat.pid in does else _STATES.get(stat.state),
        )
        found.append(view)
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


def _order(process: ProcessView) -> tuple[bool, int, int]:
    return not process.is_leader, process.stage or 0, process.pid
