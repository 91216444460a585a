"""Few descriptors, and screens that stay open: what is kept is bounded, and what is shown is the same."""

from __future__ import annotations

import errno
import os
import resource
from datetime import UTC, datetime
from pathlib import Path

import pytest

from corral.client.snapshot import Snapshot
from corral.model.job import Job
from corral.platform.files.descriptors import is_scarce
from corral.processes import output_files
from corral.processes.output_files import OutputFiles
from corral.protocol.protocol_number import NEWEST_ENDED
from corral.protocol.pushes import ChangesPushed


def test_scarce_is_a_share_of_the_soft_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1000, 4000))
    assert [is_scarce(number, 0.5) for number in (500, 501)] == [False, True]
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert not is_scarce(1 << 20, 0.5)


def written(directory: Path) -> tuple[str, ...]:
    paths = (directory / "stdout", directory / "stderr.1")
    for path, size in zip(paths, (7, 3), strict=True):
        path.write_bytes(b"x" * size)
    return tuple(map(str, paths))


def test_sizes_are_the_same_with_descriptors_and_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, paths = OutputFiles(), written(tmp_path)
    output.open(paths)
    assert (len(output.descriptors), output.sizes()) == (2, [7, 3])
    monkeypatch.setattr(output_files, "is_scarce", lambda number, share: True)
    before = len(os.listdir("/proc/self/fd"))
    output.open(paths)
    assert (output.descriptors, output.sizes()) == ([], [7, 3])
    assert len(os.listdir("/proc/self/fd")) == before - 2
    output.close()
    assert output.sizes() == []


def test_none_left_is_no_reason_to_look_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output, paths = OutputFiles(), written(tmp_path)
    real = os.open

    def second_fails(path: str, *rest: int, **where: int) -> int:
        if os.path.basename(path) == os.path.basename(paths[1]):
            raise OSError(errno.EMFILE, "Too many open files")
        return real(path, *rest, **where)

    monkeypatch.setattr(os, "open", second_fails)
    before = os.listdir("/proc/self/fd")
    output.open(paths)
    assert (output.descriptors, output.sizes()) == ([], [7, 3])
    assert len(os.listdir("/proc/self/fd")) == len(before)


def ended(number: int, **changes: object) -> Job:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    return Job(
        id=str(number), name=None, command="true", cwd="/", state="succeeded", created=at, ended=at, **changes
    )  # type: ignore[arg-type]


def test_a_screen_keeps_the_newest_of_what_has_ended() -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    running = Job(id="1", name=None, command="sleep 9", cwd="/", state="running", created=at)
    snapshot = Snapshot().having(ChangesPushed(rev=1, jobs=(running, ended(2, leftovers=1))))
    for first in range(3, 3003, 100):
        pushed = ChangesPushed(rev=first, jobs=tuple(ended(number) for number in range(first, first + 100)))
        snapshot = snapshot.having(pushed)
    assert list(snapshot.jobs) == ["1", "2", *map(str, range(3003 - NEWEST_ENDED, 3003))]
