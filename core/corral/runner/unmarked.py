"""Processes without a mark, noted for the next daemon: with this one's end they become init's children."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from corral.jobs.job_table import JobTable
from corral.journal.journal import Journal
from corral.platform.process.identity import ProcessIdentity, is_alive
from corral.processes.local_run import run_of
from corral.processes.process_scan import ProcessScan
from corral.runner.leftovers import LocalLeftovers


class Unmarked(Struct, frozen=True, omit_defaults=True):
    """By job: processes that were proven to be its own and cannot be marked, and those that may be its own."""

    proven: dict[int, tuple[ProcessIdentity, ...]] = {}
    doubtful: dict[int, tuple[ProcessIdentity, ...]] = {}


_NOTHING = "{}"
_decoder = msgspec.json.Decoder(Unmarked)
_encoder = msgspec.json.Encoder()


class UnmarkedKeeper(Struct, eq=False):
    """Keeps them in the journal, and takes them back from there."""

    _table: JobTable
    _journal: Journal
    _process_scan: ProcessScan
    _leftovers: LocalLeftovers

    def keep(self) -> None:
        """Note it, to be committed with the rest, where it has changed."""
        jobs = (self._table.started.get(job_id) for job_id in sorted(self._process_scan.unmarked))
        proven = {
            job.id: tuple(run_of(job).proven.values())
            for job in jobs
            if job is not None and run_of(job).proven
        }
        noted = _encoder.encode(Unmarked(proven, self._process_scan.suspected())).decode()
        if noted != (self._journal.unmarked or _NOTHING):
            self._journal.note_unmarked(noted)

    def recall(self) -> None:
        """Go on from what the daemon before has kept, under the same boot. Jobs that have ended are in hand again for it."""
        try:
            kept = _decoder.decode(self._journal.unmarked or _NOTHING)
        except msgspec.DecodeError:
            return  # a damaged row: what it told of is unknown again
        for job_id, identities in kept.proven.items():
            for identity in filter(is_alive, identities):
                if self._is_in_hand(job_id):
                    run_of(self._table.started[job_id]).proven[identity.pid] = identity
        for job_id, identities in kept.doubtful.items():
            for identity in filter(is_alive, identities):
                if self._is_in_hand(job_id):
                    self._process_scan.suspect(job_id, identity)

    def _is_in_hand(self, job_id: int) -> bool:
        if job_id not in self._table.started and self._journal.exists(job_id):
            self._leftovers.take_on(job_id)
        return job_id in self._table.started
