"""Encodes and decodes the journal's values, and builds jobs from rows."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from msgspec import NODEFAULT, Struct

from corral.commandline.abbreviation import ShortCommand, short_command_of
from corral.commandline.program_name import program_name
from corral.lifecycle.batch_life import BatchLife
from corral.lifecycle.outcome import NEVER_STARTED
from corral.model.batch import BatchSpec
from corral.model.job import Job, Pipe, Stage, State
from corral.model.reports import StopReport
from corral.model.spec import (
    DescriptorInput,
    FileInput,
    InteractiveInput,
    JobInput,
    JobSpec,
    NullInput,
    StdinSource,
    Surroundings,
)
from corral.model.wire import to_wire

DAMAGED_ROW = "its record in the journal is damaged"
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, ValueError, OverflowError, TypeError, zlib.error)
"""What decoding a damaged row raises."""

_STDIN_KINDS: dict[type[StdinSource], str] = {
    NullInput: "none",
    FileInput: "file",
    DescriptorInput: "descriptor",
    InteractiveInput: "interactive",
    JobInput: "job",
}
_encoder = msgspec.json.Encoder()
_specs = msgspec.json.Decoder(JobSpec)
_jobs = msgspec.json.Decoder(Job)
_batches = msgspec.json.Decoder(BatchSpec)
_batch_lives = msgspec.json.Decoder(BatchLife)
_stops = msgspec.json.Decoder(StopReport)
_surroundings = msgspec.json.Decoder(Surroundings)
_environments = msgspec.json.Decoder(dict[str, str])


class StageRow(NamedTuple):
    """A started stage as the journal knows it. `started_ticks` is of the process's identity."""

    number: int
    pid: int | None
    started_ticks: int | None
    started: datetime | None
    ended: datetime | None
    exit_status: int | None
    signal: str | None
    cpu_seconds: float | None


# ---- times --------------------------------------------------------------------------------------------------------


def to_seconds(at: datetime) -> float:
    return at.timestamp()


def to_time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


# ---- values -------------------------------------------------------------------------------------------------------


def encode(value: Any) -> bytes:
    """JSON; a lone surrogate, which JSON cannot carry, in wire form."""
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:
        return _encoder.encode(_deep_to_wire(msgspec.to_builtins(value)))


def _deep_to_wire(value: Any) -> Any:
    if isinstance(value, str):
        return to_wire(value)
    if isinstance(value, dict):
        return {_deep_to_wire(key): _deep_to_wire(item) for key, item in value.items()}
    return [_deep_to_wire(item) for item in value] if isinstance(value, (list, tuple)) else value


def _keys_and_defaults(kind: type[Struct]) -> tuple[tuple[str, Any], ...]:
    """In field order, like the values that `astuple` gives."""
    return tuple(
        (field.encode_name, ... if field.default is NODEFAULT else field.default)
        for field in msgspec.structs.fields(kind)
    )


_JOB_KEYS = _keys_and_defaults(Job)
_STAGE_KEYS = _keys_and_defaults(Stage)


def encode_job(job: Job) -> bytes:
    """The snapshot without default values: a third of the size."""
    compact = _non_defaults(job, _JOB_KEYS)
    if job.stages:
        compact["stages"] = [_non_defaults(stage, _STAGE_KEYS) for stage in job.stages]
    return encode(compact)


def _non_defaults(value: Struct, keys: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    pairs = zip(keys, msgspec.structs.astuple(value), strict=True)
    return {key: item for (key, usual), item in pairs if item is not usual and item != usual}


def decode_spec(raw: bytes) -> JobSpec:
    return _specs.decode(raw)


def decode_batch(raw: bytes) -> BatchSpec:
    return _batches.decode(raw)


def decode_batch_life(raw: bytes | None, spec: BatchSpec) -> BatchLife:
    """Of one that has not begun there is none yet."""
    return BatchLife(jobs=spec.jobs) if raw is None else _batch_lives.decode(raw)


def decode_stop(raw: bytes | None) -> StopReport | None:
    return None if raw is None else _stops.decode(raw)


def encode_environment(environment: dict[str, str]) -> tuple[bytes, bytes]:
    """(hash, content). Level 1: 0.15 ms for the usual 5 kB, once for all jobs that share it."""
    raw = encode(environment)
    return hashlib.blake2b(raw, digest_size=16).digest(), zlib.compress(raw, 1)


def encode_surroundings(surroundings: Surroundings, environment: bytes) -> tuple[bytes, bytes]:
    """(hash, content) of all but the environment, whose hash counts too."""
    raw = encode(msgspec.structs.replace(surroundings, environment={}))
    return hashlib.blake2b(raw + environment, digest_size=16).digest(), raw


def decode_surroundings(raw: bytes, environment: bytes) -> Surroundings:
    return msgspec.structs.replace(
        _surroundings.decode(raw), environment=_environments.decode(zlib.decompress(environment))
    )


def decode_cwd(raw: bytes | None) -> str:
    return "" if raw is None else _surroundings.decode(raw).cwd


# ---- jobs ---------------------------------------------------------------------------------------------------------


def new_job(job_id: int | str, spec: JobSpec, cwd: str, created: datetime) -> Job:
    """The first snapshot of a job: queued, nothing known but what was asked for."""
    shown = short_command_of(spec)
    stages = tuple(
        Stage(number=number, name=program_name(command.argv), argv=argv)
        for number, (command, argv) in enumerate(zip(spec.pipeline.stages, shown.argvs, strict=True), 1)
    )
    return msgspec.structs.replace(accepted_job(job_id, spec, cwd, created, shown), stages=stages)


def accepted_job(job_id: int | str, spec: JobSpec, cwd: str, created: datetime, shown: ShortCommand) -> Job:
    """What its specification says of a job, without its stages."""
    return Job(
        id=str(job_id),
        name=spec.name,
        command=shown.command,
        cwd=cwd,
        pty=spec.pty,
        parent=spec.parent,
        after=spec.after,
        from_=spec.stdin.job if isinstance(spec.stdin, JobInput) else None,
        restarted_from=spec.restarted_from,
        created=created,
        timeout=spec.timeout,
        stop_signal=spec.stop_signal,
        stop_grace=spec.stop_grace,
        stuck_after=spec.stuck_after,
        on_leftovers=spec.leftovers,
        max_output=spec.max_output,
        output=spec.output,
        on_stuck=spec.on_stuck,
        origin=spec.origin,
        stdin="terminal" if spec.pty else _STDIN_KINDS[type(spec.stdin)],
        pipes=tuple(
            Pipe(number=number, from_stage=number, to_stage=number + 1)
            for number in range(1, len(spec.pipeline.stages))
        ),
        cut=shown.is_cut,
    )


def accepted_batch(batch: int, spec: BatchSpec, cwd: str, created: datetime) -> Job:
    """What its specification says of a batch."""
    job = spec.job
    return Job(
        id=str(batch),
        kind="batch",
        name=job.name,
        command=spec.template,
        cwd=cwd,
        parent=job.parent,
        after=job.after,
        restarted_from=job.restarted_from,
        created=created,
        timeout=job.timeout,
        stop_signal=job.stop_signal,
        stop_grace=job.stop_grace,
        stuck_after=job.stuck_after,
        on_leftovers=job.leftovers,
        max_output=job.max_output,
        output=job.output,
        on_stuck=job.on_stuck,
        origin=job.origin,
        retries=spec.retries,
        retry_delay=spec.retry_delay,
    )


def unended_batch(batch: int, raw: bytes, cwd: str, created: datetime, raw_life: bytes | None) -> Job:
    """A batch as last written; a daemon that runs it knows more."""
    spec = decode_batch(raw)
    life = decode_batch_life(raw_life, spec)
    return msgspec.structs.replace(
        accepted_batch(batch, spec, cwd, created), state=life.state, started=life.started
    )


def decode_job(raw: bytes, hidden: bool) -> Job:
    job = _jobs.decode(raw)
    return msgspec.structs.replace(job, hidden=True) if hidden else job


def with_state(job: Job, state: State, started: datetime | None, stages: Iterable[StageRow]) -> Job:
    """An unended job as last written."""
    known = {stage.number: stage for stage in stages}
    return msgspec.structs.replace(
        job,
        state=state,
        started=started,
        stages=tuple(_with_row(stage, known.get(stage.number)) for stage in job.stages),
    )


def withdrawn(job: Job, ended: float) -> Job:
    """The job, which has left the queue without having begun."""
    at = datetime.fromtimestamp(ended, UTC)
    return msgspec.structs.replace(job, state="stopped", ended=at, reason=NEVER_STARTED)


def _with_row(stage: Stage, row: StageRow | None) -> Stage:
    if row is None:
        return stage
    ended_well = row.exit_status == 0 or row.signal == "PIPE"
    state = "running" if row.ended is None else ("succeeded" if ended_well else "failed")
    return msgspec.structs.replace(
        stage,
        pid=row.pid,
        state=state,
        started=row.started,
        ended=row.ended,
        exit_status=row.exit_status,
        signal=row.signal,
        cpu_seconds=row.cpu_seconds,
    )


def _readable_time(seconds: float | None) -> datetime | None:
    """None also for what is not a time: damage makes floats of any size, and text."""
    try:
        return to_time(seconds)
    except (ValueError, OverflowError, OSError, TypeError):
        return None


def damaged_job(job_id: int, name: str | None, command: str, created: float, ended: float | None) -> Job:
    """What can still be said of a job whose row cannot be read."""
    began = _readable_time(created) or datetime.fromtimestamp(0, UTC)
    return Job(
        id=str(job_id),
        name=name,
        command=command,
        cwd="",
        state="lost",
        created=began,
        ended=_readable_time(ended) or began,
        reason=DAMAGED_ROW,
    )
