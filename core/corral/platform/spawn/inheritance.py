"""A job's limits, scheduling and credentials are to be its client's, not the daemon's: what can be passed on, and how."""

from __future__ import annotations

import grp
import os
import resource
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from corral.model.errors import OtherSurroundingsError
from corral.model.spec import Scheduling, Standing, Surroundings
from corral.platform.spawn import credentials, resource_limits, scheduling
from corral.platform.spawn.child_setup import LIMIT_NAMES

WAY = "once no job runs, corral daemon restart from this shell gives it that; until then set CORRAL_HOME to another directory"

_WAKE_ALARM = 1 << 35
"""CAP_WAKE_ALARM: to wake a machine that sleeps (linux/capability.h)."""


class OwnSettings(NamedTuple):
    """What the children of a process have of it, and what it may change about that."""

    limits: resource_limits.Limits
    nice: int
    scheduling: Scheduling | None
    standing: Standing | None
    namespaces: dict[str, str]
    powers: int
    """Its effective capabilities."""


def own_of_this() -> OwnSettings:
    """That of this process."""
    status = credentials.status_of_this()
    return OwnSettings(
        resource_limits.current(),
        os.getpriority(os.PRIO_PROCESS, 0),
        scheduling.of(os.getpid()),
        credentials.standing(status),
        credentials.namespaces(),
        credentials.powers(status),
    )


# ---- passing it on


class ChildSettings(NamedTuple):
    """What a child is to have that this process has not. With nothing in it the child costs no more than it has to."""

    around: tuple[tuple[int, tuple[int, int]], ...] = ()
    """Soft limits that this process has during the spawn."""
    shares: Scheduling | None = None
    """CPUs and I/O priority, likewise."""
    oom_score_adj: int | None = None
    inside: dict[str, Any] | None = None
    """What the child gives itself (`corral.platform.spawn.child_setup`), which costs a real fork instead of a vfork."""


def child_settings(wanted: Surroundings, own: OwnSettings) -> ChildSettings:
    """What it takes to give a child of this process what is wanted."""
    around, within = resource_limits.plan(wanted.limits, own.limits)
    shares, inside = scheduling.plan(wanted.scheduling, own.scheduling)
    if wanted.nice != own.nice:
        inside["nice"] = wanted.nice
    if within:
        inside["limits"] = within
    score = None
    if wanted.standing is not None and own.standing is not None:
        inside |= _inside(wanted.standing, own.standing)
        if wanted.standing.oom_score_adj != own.standing.oom_score_adj:
            score = wanted.standing.oom_score_adj
    return ChildSettings(around, shares, score, inside or None)


def _inside(wanted: Standing, own: Standing) -> dict[str, Any]:
    inside: dict[str, Any] = {}
    if wanted.groups != own.groups:
        inside["groups"] = list(wanted.groups)
    if wanted.group != own.group:
        inside["group"] = wanted.group
    if _capabilities(wanted) != _capabilities(own):
        inside["bounding"] = own.bounding & ~wanted.bounding
        _, inside["inheritable"], inside["ambient"] = _capabilities(wanted)
    if wanted.no_new_privs and not own.no_new_privs:
        inside["no_new_privs"] = True
    return inside


@contextmanager
def applied(settings: ChildSettings, *, soft_limits: bool = True) -> Iterator[None]:
    """Apply to this process during a spawn what can be undone. Raises CannotStartError, such as for CPUs that are gone."""
    if settings.shares is None and settings.oom_score_adj is None and not settings.around:
        yield
        return
    with ExitStack() as put_back:
        put_back.enter_context(scheduling.applied(settings.shares))
        put_back.enter_context(credentials.applied(settings.oom_score_adj))
        if soft_limits:
            put_back.enter_context(resource_limits.applied(settings.around))
        yield


# ---- what cannot be


def check(wanted: Surroundings, own: OwnSettings) -> None:
    """Raises OtherSurroundingsError, a sentence that names what a process with `own` cannot give to its child."""
    refused = refusals(wanted, own)
    if refused:
        raise OtherSurroundingsError(f"the daemon cannot give a job your {', '.join(refused)}: {WAY}")


def refusals(wanted: Surroundings, own: OwnSettings) -> list[str]:
    """What a process with `own` cannot give to its child."""
    found = [
        credentials.NAMESPACES[name]
        for name, where in wanted.namespaces.items()
        if name in credentials.NAMESPACES and own.namespaces.get(name, where) != where
    ]
    if not _can(own, credentials.SYS_RESOURCE):
        found += [
            f"limit {LIMIT_NAMES.get(number, number)} of {resource_limits.shown(hard)} (it has {resource_limits.shown(least)})"
            for number, hard, least in resource_limits.too_high(wanted.limits, own.limits)
        ]
    if wanted.nice < own.nice and not _may_have_nice(own, wanted.nice):
        found.append(f"nice value {wanted.nice} (it has {own.nice})")
    if wanted.scheduling and own.scheduling and not _may_have_policy(wanted.scheduling, own):
        policy, its = map(scheduling.policy_name, (wanted.scheduling, own.scheduling))
        found.append(f"scheduling policy {policy} (it has {its})")
    if wanted.standing and own.standing:
        found += _refused_standing(wanted.standing, own.standing, own)
    return found


def _can(own: OwnSettings, capability: int) -> bool:
    return bool(own.powers >> capability & 1)


def _may_have_nice(own: OwnSettings, nice: int) -> bool:
    """RLIMIT_NICE of n allows 20 - n (getrlimit(2))."""
    allowed = own.limits.get(getattr(resource, "RLIMIT_NICE", -1), (0, 0))[0]
    return _can(own, credentials.SYS_NICE) or allowed == resource.RLIM_INFINITY or 20 - nice <= allowed


def _may_have_policy(wanted: Scheduling, own: OwnSettings) -> bool:
    """As sched(7) has it."""
    assert own.scheduling is not None
    if (wanted.policy, wanted.priority) == (own.scheduling.policy, own.scheduling.priority):
        return True
    if _can(own, credentials.SYS_NICE):
        return True
    if wanted.policy in scheduling.REAL_TIME:
        allowed = own.limits.get(getattr(resource, "RLIMIT_RTPRIO", -1), (0, 0))[0]
        return allowed == resource.RLIM_INFINITY or wanted.priority <= allowed
    if own.scheduling.policy == scheduling.IDLE:
        return wanted.policy == scheduling.IDLE or _may_have_nice(own, own.nice)
    return True


def _refused_standing(wanted: Standing, own: Standing, its: OwnSettings) -> list[str]:
    found = []
    if not _can(its, credentials.SETGID):
        if wanted.group != own.group:
            found.append(f"group {_group(wanted.group)} (it has {_group(own.group)})")
        changed = {wanted.group, *wanted.groups} ^ {own.group, *own.groups}
        if changed:
            found.append(f"supplementary groups (they differ in {', '.join(map(_group, sorted(changed)))})")
    if own.no_new_privs and not wanted.no_new_privs:
        found.append("right to gain privileges (it has no_new_privs)")
    if _lacks_capabilities(wanted, own, its):
        found.append("capabilities")
    return found


def _lacks_capabilities(wanted: Standing, own: Standing, its: OwnSettings) -> bool:
    if wanted.bounding & ~own.bounding:
        return True
    if own.bounding & ~wanted.bounding and not _can(its, credentials.SETPCAP):
        return True
    # What a child may add to these sets is what its parent may use.
    _, inheritable, ambient = _capabilities(wanted)
    return bool(((inheritable & ~own.inheritable) | (ambient & ~own.ambient)) & ~its.powers)


def _capabilities(of: Standing) -> tuple[int, int, int]:
    """The sets that go on through execve(2); without the one that pam_systemd gives to some of a user's sessions only."""
    return of.bounding, of.inheritable & ~_WAKE_ALARM, of.ambient & ~_WAKE_ALARM


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except (KeyError, OverflowError):
        return str(number)
