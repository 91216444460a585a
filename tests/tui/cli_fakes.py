"""A daemon's place taken by canned answers, for tests of the command line; and jobs to answer with."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from corral.model.job import Job, Pipe, Stage
from corral.protocol.requests import PROTOCOL, Hello, Request
from corral_tui.cli.jobs import ps_list
from corral_tui.cli.support import connect

CREATED = datetime(2026, 11, 22, 13, 0, 0, tzinfo=UTC)


def make_job(number: int = 7, **changes: Any) -> Job:
    """A running job of one stage; `changes` win."""
    values: dict[str, Any] = {
        "id": str(number),
        "name": None,
        "command": "sleep 60",
        "cwd": "/tmp",
        "state": "running",
        "health": "waiting",
        "created": CREATED,
        "started": CREATED,
        "elapsed": 250.0,
        "cpu_percent": 0.0,
        "memory_bytes": 2 << 20,
        "processes": 1,
        "stages": (Stage(number=1, name="sleep", argv=("sleep", "60"), pid=4242, state="running"),),
    }
    return Job(**(values | changes))


def ended_job(number: int = 7, **changes: Any) -> Job:
    """A job that succeeded; `changes` win."""
    values = {"state": "succeeded", "health": None, "exit_status": 0, "ended": CREATED, "processes": 0}
    return make_job(number, **(values | changes))


def pipeline_job(number: int = 3) -> Job:
    """A running job of two stages and a full pipe."""
    stages = (
        Stage(number=1, name="yes", argv=("yes",), pid=10, state="running", waits="waits to write"),
        Stage(number=2, name="gzip", argv=("gzip", "-9"), pid=11, state="running", cpu_percent=99.0),
    )
    pipe = Pipe(
        number=1, from_stage=1, to_stage=2, fill_bytes=65536, capacity_bytes=65536, limited_by="reader"
    )
    return make_job(
        number, name="squeeze", command="yes | gzip -9", stages=stages, pipes=(pipe,), bottleneck=2
    )


class FakeDaemon:
    """Answers each type of request with what was put in `answers` for it; an exception there is raised."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.sent_descriptors: list[int] = []
        self.answers: dict[type[Request], Any] = {}
        self.received: list[int] = []
        self.hello = Hello(version="1.2.3", protocol=PROTOCOL, pid=77, home="/somewhere")
        self.daemon_pid = 0

    def call(self, request: Any, descriptors: Sequence[int] = (), timeout: float | None = None) -> Any:
        self.asked.append(request)
        self.sent_descriptors.extend(descriptors)
        answer = self.answers[type(request)]
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def received_descriptors(self) -> list[int]:
        received, self.received = self.received, []
        return received


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> FakeDaemon:
    """A daemon that seems to run, for whoever asks `reach`."""
    daemon = FakeDaemon()

    @contextmanager
    def reached(**_: object) -> Iterator[FakeDaemon]:
        yield daemon

    monkeypatch.setenv("CORRAL_HOME", os.fspath(tmp_path / "home"))
    for way in ("daemon", "running_daemon", "reader"):
        monkeypatch.setattr(connect, way, reached)
    monkeypatch.setattr(ps_list, "fast_list", lambda home, ids, **_: None)
    return daemon
