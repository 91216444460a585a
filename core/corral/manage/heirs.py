"""Restarting: a job that takes the place of another one stands in the queue until that one is gone.

So the wish is in the journal before anything is stopped, has its id at once, and is carried out by whichever daemon is
there when nothing of the old job is left.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec import structs

from corral.decide.endings import OUT_OF_SIGHT
from corral.decide.life import DependencyFailed
from corral.decide.scheduler import Dependency
from corral.manage.jobs import ManagedJob
from corral.manage.moments import moment
from corral.manage.operations import request_stop, stop_report
from corral.values.errors import NotSoError, UnknownJobError
from corral.values.spec import DescriptorInput, JobInput, JobSpec, Origin

if TYPE_CHECKING:
    from corral.manage.manager import Manager

_BY = "to restart it"


async def restart(manager: Manager, job_id: int, origin: Origin, asked_at: float | None = None) -> int:
    """Run the job again with the same specification and surroundings; the new id. A running one is stopped first.

    Where that was asked before, and the new run waits already, that one is meant; with `asked_at` also one that was
    accepted since then.

    Raises:
        NotSoError: it cannot be run again, or something of it survives; nothing was started then.
    """
    async with manager.restarting:
        heir = _heir(manager, job_id) or _restarted_since(manager, job_id, asked_at)
        if heir is None:
            heir = await _accept_heir(manager, job_id, origin)
    job = manager.jobs.get(job_id)
    if job is None or job.life.is_ended or heir == job_id:
        return heir
    _begin(manager, job)
    report = await stop_report(manager, job_id, wait=True)
    if report.survivors:
        give_up(manager, job_id, "still there")
        names = ", ".join(f"{survivor.pid} {survivor.name}" for survivor in report.survivors)
        raise NotSoError(f"job {job_id} was not restarted: {names} is still there")
    return heir


def _heir(manager: Manager, job_id: int) -> int | None:
    """Who waits to take the place of this job; the job itself, where it waits for another one's."""
    job = manager.jobs.get(job_id)
    if job is None or job.life.is_ended:
        return None
    if job.life.state == "queued" and any(_is_there(manager, each) for each in job.spec.instead_of):
        return job_id
    return next((heir.id for heir in _heirs(manager, job_id)), None)


def _heirs(manager: Manager, job_id: int) -> Iterator[ManagedJob]:
    for job in manager.jobs.values():
        if str(job_id) in job.spec.instead_of and job.life.state == "queued":
            yield job


def _restarted_since(manager: Manager, job_id: int, asked_at: float | None) -> int | None:
    if asked_at is None:
        return None
    since = asked_at - 1.0  # the client's clock and its arithmetic
    origin = str(job_id)
    made = [
        each.id
        for each in manager.jobs.values()
        if each.spec.restarted_from == origin and each.created.timestamp() >= since
    ]
    made += [
        int(each.id)
        for each in manager.ended.values()
        if each.restarted_from == origin and each.created.timestamp() >= since
    ]
    return max(made, default=None)


async def _accept_heir(manager: Manager, job_id: int, origin: Origin) -> int:
    spec, surroundings = manager.origin_of(job_id)
    _check(manager, job_id, spec)
    again = structs.replace(
        spec,
        after=(),
        restarted_from=str(job_id),
        # Also what the job itself was to replace: that may not be gone, and was why it never started.
        instead_of=tuple(each for each in (str(job_id), *spec.instead_of) if _is_there(manager, each)),
        origin=origin,
    )
    return (await manager.accept([again], surroundings))[0]


def _check(manager: Manager, job_id: int, spec: JobSpec) -> None:
    if isinstance(spec.stdin, DescriptorInput):
        raise NotSoError(
            f"job {job_id} read the stdin of the command that started it, which is gone;"
            " start it with --stdin FILE to be able to restart it"
        )
    if isinstance(spec.stdin, JobInput) and not os.path.lexists(manager.home.stdout(spec.stdin.job)):
        raise NotSoError(
            f"job {job_id} read the output of job {spec.stdin.job}, which was removed; start it with --stdin FILE"
        )


def _begin(manager: Manager, job: ManagedJob) -> None:
    if job.life.state != "stopping":
        request_stop(manager, job.id, by=_BY)


def _is_there(manager: Manager, reference: str) -> bool:
    job = manager.jobs.get(int(reference))
    return job is not None and not job.life.is_ended


# ---- what the manager asks ----------------------------------------------------------------------------------------


def dependencies(manager: Manager, job: ManagedJob) -> Iterator[Dependency]:
    """What it waits for to be gone."""
    for reference in job.spec.instead_of:
        number = int(reference)
        old = manager.jobs.get(number)
        if old is not None and not old.life.is_ended:
            yield Dependency(number, old.spec.name, by_end=True)
        elif _may_live_elsewhere(manager, number):
            yield Dependency(number, None, succeeded=False)


def _may_live_elsewhere(manager: Manager, job_id: int) -> bool:
    try:
        return manager.snapshot(job_id).reason == OUT_OF_SIGHT
    except UnknownJobError:
        return False


def go_on(manager: Manager) -> None:
    """Stop what is to be replaced, where the daemon before had noted no more than that."""
    for heir in list(manager.jobs.values()):
        for reference in heir.spec.instead_of if heir.life.state == "queued" else ():
            job = manager.jobs.get(int(reference))
            if job is not None and not job.life.is_ended:
                _begin(manager, job)


def give_up(manager: Manager, job_id: int, why: str) -> None:
    """Something of the job survives: what was to take its place never starts."""
    for heir in list(_heirs(manager, job_id)):
        manager.apply(
            heir, DependencyFailed(**moment(), message=f"job {job_id}, which it replaces, is {why}")
        )
