"""What a daemon hands over of its jobs: all that was observed, whatever is added to it, and from the release before as well."""

from __future__ import annotations

import types
import typing
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import structs

from corral.engine.handover import FORMAT, HandedJob, Handover, decode_table
from corral.executors.local_takeover import HandedProcesses
from corral.jobs.takeover import Handed
from corral.measure.history import (
    Cell,
    History,
    Lifetime,
    Numbers,
    OutputHistory,
    RecentUsage,
    StageHistory,
    Stream,
    decode,
    encode,
)
from corral.measure.stuck_rule import Progress
from corral.model.reports import Diagnosis
from corral.output.truncation import Piece
from corral.platform.process.identity import ProcessIdentity

OWN = ProcessIdentity(7, 70)
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def something(of: Any) -> Any:
    """A value of that type that no default is."""
    origin, arguments = typing.get_origin(of), typing.get_args(of)
    if origin in (typing.Union, types.UnionType):
        return something(arguments[0])
    if origin is typing.Literal:
        return arguments[0]
    if origin is list:
        return [something(arguments[0])]
    if origin is frozenset:
        return frozenset({something(arguments[0])})
    if origin is tuple:
        return (something(arguments[0]),) if arguments[-1] is ... else tuple(map(something, arguments))
    if of is Numbers:
        return Numbers((1.5, 2.5))
    if of is Diagnosis:
        return Diagnosis(id="1", health="stuck", since=AT, summary="waits")
    if isinstance(of, type) and issubclass(of, msgspec.Struct):
        return filled(of)
    if hasattr(of, "_fields"):
        hints = typing.get_type_hints(of)
        return of(*(something(hints[name]) for name in of._fields))
    return {int: 5, float: 2.5, str: "text", bytes: b"bytes", bool: True, datetime: AT}[of]


def filled(of: type[Any]) -> Any:
    hints = typing.get_type_hints(of)
    return of(**{field.name: something(hints[field.name]) for field in structs.fields(of)})


def test_no_field_of_a_history_is_lost() -> None:
    history, stage = filled(History), filled(StageHistory)
    for record in (history, stage, history.output, history.progress, history.streams[0], history.lifetime):
        for field in structs.fields(record):
            assert getattr(record, field.name) != field.default, f"{field.name} is not tried"
    held = HandedProcesses(pidfds={1: 9}, pipe_bytes=7)
    handed = Handed(msgspec.Raw(encode(held)), held.descriptors)
    job = HandedJob(id=1, history=history, stages=(stage,), held=handed)
    table = Handover(format=FORMAT, process=OWN, jobs=(job,))
    found = decode_table(encode(table), OWN)
    assert found == table
    assert isinstance(found, Handover)
    assert 9 in found.descriptors


FORMAT_1 = """
{"format":1,"process":[7,70],"jobs":[{"id":1,"is_starting":false,"opened":[],"ahead":[],"stdin_descriptor":null,
"stdin_writer":12,"terminal":null,"feed":null,"pipe_bytes":65536,"pipe_inodes":{"99":1},"input_pipe":98,"observed":{
"last_moved":50.5,"active_since":40.5,"stages":[{"number":1,"cpu_seconds":1.5,"cpu_percent":2.5,"does":"waits","pidfd":9},
{"number":2,"cpu_seconds":null,"cpu_percent":null,"does":null,"pidfd":null}],"health":"stuck",
"health_since":"2026-01-02T03:04:05Z","cpu_percent":3.5,"memory_bytes":4096,"peak_memory_bytes":8192,
"reaped_cpu_seconds":0.5,"last_cpu_seconds":2.0,"last_sampled":51.5,"stdout_bytes":100,"stderr_bytes":20,
"last_output":"2026-01-02T03:04:05Z","recent_output":[[49.5,110],[50.5,120]],"past":[[10,3.5,4096,null,[1.5,2.0]]],
"story":{"diagnosis":{"id":"1","health":"stuck","since":null,"summary":"waits"},"diagnosed":"2026-01-02T03:04:05Z",
"life":{"began":30.5,"seconds":1.0,"until":51.5,"cpu_seconds":2.0,"memory":4096,"cells":[[0.5,1.0,4096],[0.0,0.0,null]]}},
"disk_full":null,"streams":[{"end":100,"lost":3,"times":1,"position":0,"pieces":[[0,"YWI="]],"held":true,
"has_tripwire":true}],"truncated":"2026-01-02T03:04:05Z"}},{"id":2,"is_starting":true,"observed":null}],"stops":[],
"notices":["said to nobody yet"]}
"""
"""A table as the release before writes it."""


def test_a_table_of_the_release_before_is_read_whole() -> None:
    found = decode_table(FORMAT_1.encode(), OWN)
    assert isinstance(found, Handover), found
    job, starting = found.jobs
    assert (starting.is_starting, starting.stages, found.notices) == (True, (), ("said to nobody yet",))
    held = decode(bytes(job.held.content), HandedProcesses)
    assert (held.stdin_writer, held.pipe_inodes, held.input_pipe, held.pidfds) == (12, {99: 1}, 98, {1: 9})
    assert (job.held.descriptors, starting.held.descriptors) == ((12, 9), ())
    assert job.stages == (StageHistory(1.5, 2.5, does="waits"), StageHistory())
    assert job.history == History(
        health="stuck",
        health_since=AT,
        progress=Progress(50.5, 40.5),
        cpu_percent=3.5,
        memory_bytes=4096,
        peak_memory_bytes=8192,
        reaped_cpu_seconds=0.5,
        last_cpu_seconds=2.0,
        last_sampled=51.5,
        output=OutputHistory(100, 20, last_output=AT, written=120, recent=[(49.5, 110), (50.5, 120)]),
        streams=[
            Stream(end=100, pieces=[Piece(0, b"ab")], lost=3, times=1, held=True, has_tripwire=True),
        ],
        truncated=AT,
        recent=RecentUsage([Cell(10, 3.5, 4096, None, (1.5, 2.0))]),
        lifetime=Lifetime(
            began=30.5,
            until=51.5,
            cpu_seconds=2.0,
            memory=4096,
            used=Numbers((0.5, 0.0)),
            measured=Numbers((1.0, 0.0)),
            peaks=Numbers((4096, -1)),
        ),
        stuck=Diagnosis(id="1", health="stuck", since=None, summary="waits"),
        stuck_at=AT,
    )


FORMAT_2 = """
{"format":2,"process":[7,70],"jobs":[{"id":1,"is_starting":false,"opened":[[1,0,20]],"ahead":[{"stage":1,"identity":[9,90],
"line":21,"phase":"looks","step":"","heard":""}],"stdin_descriptor":22,"stdin_writer":23,"terminal":{"master":24,"inner":25,
"sink":26,"unwritten":"","modes":[]},"feed":{"writer":27,"reader":28,"offset":7,"source":5},"pipe_bytes":65536,
"pipe_inodes":{"99":1},"input_pipe":98,"pidfds":{"1":29},"history":{"health":"stuck"},"stages":[{"cpu_seconds":1.5}]}],
"stops":[],"notices":[]}
"""


def test_a_table_of_format_2_is_read_with_all_its_descriptors() -> None:
    found = decode_table(FORMAT_2.encode(), OWN)
    assert isinstance(found, Handover), found
    (job,) = found.jobs
    assert found.descriptors == frozenset(range(20, 30))
    held = decode(bytes(job.held.content), HandedProcesses)
    assert frozenset(held.descriptors) == found.descriptors
    assert (held.pipe_bytes, held.input_pipe) == (65536, 98)
    assert job.history == History(health="stuck")
    assert job.stages == (StageHistory(1.5),)


def test_a_table_that_is_not_ours_to_read_is_refused() -> None:
    assert decode_table(FORMAT_1.encode(), ProcessIdentity(8, 80)) == "was written by another process"
    later = FORMAT_1.replace('"format":1', '"format":99').encode()
    assert decode_table(later, OWN) == f"has format 99, this program reads {FORMAT}"
    assert str(decode_table(b"{", OWN)).startswith("cannot be read: ")
