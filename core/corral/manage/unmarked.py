"""What carries no mark, kept for the next daemon: once this one is gone its orphans are init's, and nothing tells of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from corral.system.identity import ProcessIdentity, is_alive

if TYPE_CHECKING:
    from corral.manage.manager import Manager


class Unmarked(Struct, frozen=True, omit_defaults=True):
    """By job: processes that were proven to be its own and cannot be marked, and those that may be its own."""

    proven: dict[int, tuple[ProcessIdentity, ...]] = {}
    doubtful: dict[int, tuple[ProcessIdentity, ...]] = {}


_NOTHING = "{}"
_decoder = msgspec.json.Decoder(Unmarked)
_encoder = msgspec.json.Encoder()


def keep_unmarked(manager: Manager) -> None:
    """Note it, to be committed with the rest, where it has changed."""
    jobs = (manager.jobs.get(job_id) for job_id in sorted(manager.census.unmarked))
    proven = {job.id: tuple(job.run.proven.values()) for job in jobs if job is not None and job.run.proven}
    noted = _encoder.encode(Unmarked(proven, manager.census.suspected())).decode()
    if noted != (manager.journal.unmarked or _NOTHING):
        manager.journal.note_unmarked(noted)


def recall_unmarked(manager: Manager) -> None:
    """Go on from what the daemon before has kept, under the same boot. Jobs that have ended are in hand again for it."""
    try:
        kept = _decoder.decode(manager.journal.unmarked or _NOTHING)
    except msgspec.DecodeError:
        return  # a damaged row: what it told of is unknown again
    for job_id, identities in kept.proven.items():
        for identity in filter(is_alive, identities):
            if _is_in_hand(manager, job_id):
                manager.jobs[job_id].run.proven[identity.pid] = identity
    for job_id, identities in kept.doubtful.items():
        for identity in filter(is_alive, identities):
            if _is_in_hand(manager, job_id):
                manager.census.suspect(job_id, identity)


def _is_in_hand(manager: Manager, job_id: int) -> bool:
    if job_id not in manager.jobs and manager.journal.exists(job_id):
        manager.leftovers.take_on(job_id)
    return job_id in manager.jobs
