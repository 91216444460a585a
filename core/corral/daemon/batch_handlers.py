"""What the daemon does with requests about batches."""

from __future__ import annotations

from msgspec import structs

from corral.daemon.client_connection import Answer, Caller
from corral.engine.engine import Engine
from corral.jobs.batches.batches import MOST_INPUTS
from corral.model.batch import BatchJobId
from corral.model.errors import NotSoError, UsageError
from corral.model.reports import Detail, Diagnosis, Story
from corral.model.spec import Origin
from corral.platform.spawn import scheduling
from corral.protocol import requests as p
from corral.protocol.shorten_commands import fit


class BatchHandlers:
    """Served by one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def start(self, request: p.StartBatch, caller: Caller) -> Answer:
        hello = caller.client.hello
        assert hello is not None
        engine = self._engine
        job = structs.replace(request.spec.job, origin=hello.client, parent=hello.parent, instead_of=())
        surroundings = structs.replace(
            request.surroundings, scheduling=scheduling.of(caller.client.pid), namespaces={}
        )
        engine.executor.check(request.surroundings)
        left = engine.executor.leftovers.told({job.name}) if job.name is not None else ()
        batch = await engine.batches.accept(structs.replace(request.spec, job=job), surroundings)
        engine.batches.running(batch).feeder = caller.client
        return Answer(p.Started((str(batch),), left))

    async def feed(self, request: p.FeedBatch, caller: Caller) -> Answer:
        engine = self._engine
        if len(request.inputs) > MOST_INPUTS:
            raise UsageError(
                f"{len(request.inputs)} inputs in one request: at most {MOST_INPUTS}; send them in parts"
            )
        if request.before < 0:
            raise UsageError(f"{request.before} inputs before these: at least 0")
        batch_id = engine.references.resolve(request.batch)
        batch = engine.table.batches.get(batch_id)
        if batch is None:
            raise NotSoError(f"batch {batch_id} takes no more inputs: it has ended")
        batch.feeder = caller.client
        total = engine.batches.feed(batch_id, request.before, request.inputs, is_last=request.is_last)
        left_out = batch.life.left_out
        if request.most_waiting is not None:
            await engine.batches.until_few_wait(batch_id, request.most_waiting)
        return Answer(p.Fed(total, left_out))

    async def jobs(self, request: p.ListBatchJobs) -> p.BatchJobs:
        engine = self._engine
        batch_id = engine.references.resolve(request.batch)
        if isinstance(batch_id, BatchJobId) or not engine.batch_stops.is_batch(batch_id):
            raise NotSoError(f"job {request.batch} is no batch")
        if request.limit < 1:
            raise UsageError(f"{request.limit} jobs a page: at least 1")
        if request.page_after is not None and min(request.page_after) < 0:
            raise UsageError(f"{request.page_after} is where no page begins")
        jobs, following = engine.batch_lists.page(batch_id, request.parts, request.limit, request.page_after)
        return p.BatchJobs(fit(jobs), following)

    async def set(self, request: p.SetBatch) -> p.Outcome:
        engine = self._engine
        batch_id = engine.references.resolve(request.batch)
        jobs = request.jobs
        if jobs is None:
            jobs = max(1, engine.batches.running(batch_id).life.jobs + request.change)
        done = engine.batches.set_jobs(batch_id, jobs)
        engine.commits.soon()
        return p.Outcome((done,))

    def one_job(self, reference: str) -> int:
        """What is meant, for what only one job has. Raises NotSoError for a batch."""
        job_id = self._engine.references.resolve(reference)
        if not isinstance(job_id, BatchJobId) and self._engine.batch_stops.is_batch(job_id):
            raise NotSoError(f"{reference} is a batch: name one of its jobs, such as {job_id}.1")
        return job_id

    def pause(self, job_id: int) -> str:
        engine = self._engine
        is_batch = job_id in engine.table.batches
        return engine.batch_pauses.pause(job_id) if is_batch else engine.signals.pause(job_id)

    def resume(self, job_id: int) -> str:
        engine = self._engine
        is_batch = job_id in engine.table.batches
        return engine.batch_pauses.resume(job_id) if is_batch else engine.signals.resume(job_id)

    def why(self, job_id: int) -> Diagnosis:
        engine = self._engine
        if isinstance(job_id, BatchJobId) and engine.table.live(job_id) is None:
            return engine.batch_explanation.why_stored(job_id)
        if engine.batch_stops.is_batch(job_id):
            return engine.batch_explanation.why(job_id)
        return engine.explanation.why(job_id)

    async def detail(self, job_id: int) -> Detail:
        engine = self._engine
        if isinstance(job_id, BatchJobId):
            found = engine.batch_explanation.detail_of_job(job_id)
            return structs.replace(found, tree=engine.explanation.processes(job_id))
        if engine.batch_stops.is_batch(job_id):
            engine.commits.soon()
            return await engine.batch_explanation.detail(job_id)
        return engine.explanation.detail(job_id)

    def history(self, job_id: int) -> Story:
        """Nothing is kept of an ended job of a batch, and of batches."""
        engine = self._engine
        in_batch = isinstance(job_id, BatchJobId) and engine.table.live(job_id) is None
        return (
            Story(str(job_id))
            if in_batch or job_id in engine.table.batches
            else engine.executor.history(job_id)
        )

    async def restart(self, job_id: int, origin: Origin, request: p.RestartJobs) -> int:
        engine = self._engine
        if isinstance(job_id, BatchJobId):
            return await engine.batch_restarts.restart_job(job_id, origin)
        if engine.batch_stops.is_batch(job_id):
            return await engine.batch_restarts.restart(job_id, origin, failed=request.failed)
        if request.failed:
            raise NotSoError(f"job {job_id} is no batch; --failed is for those")
        return await engine.restarts.restart(job_id, origin, request.asked_at)
