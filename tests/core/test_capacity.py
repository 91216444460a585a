"""How many CPUs a process has, by its control groups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corral.platform.host.capacity import available_cpus


@pytest.fixture(autouse=True)
def _sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))


def _write(root: Path, **contents: str) -> None:
    for name, content in contents.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")


def _cpus(root: Path, control_group: str) -> int:
    return available_cpus(control_group, str(root))


def test_without_a_quota_it_is_the_affinity(tmp_path: Path) -> None:
    _write(tmp_path, user__cpu_DOT_max="max 100000")
    assert _cpus(tmp_path, "0::/user\n") == _cpus(tmp_path, "") == 16


def test_a_quota_is_rounded_up(tmp_path: Path) -> None:
    _write(tmp_path, user__cpu_DOT_max="250000 100000")
    assert _cpus(tmp_path, "0::/user\n") == 3
    _write(tmp_path, user__cpu_DOT_max="10000 100000")
    assert _cpus(tmp_path, "0::/user\n") == 1
    _write(tmp_path, user__cpu_DOT_max="9900000 100000")
    assert _cpus(tmp_path, "0::/user\n") == 16


def test_the_smallest_quota_of_those_around_it_counts(tmp_path: Path) -> None:
    _write(tmp_path, a__cpu_DOT_max="200000 100000", a__b__cpu_DOT_max="max 100000")
    assert _cpus(tmp_path, "0::/a/b/c\n") == 2


def test_within_a_container_it_is_that_of_the_top(tmp_path: Path) -> None:
    _write(tmp_path, cpu_DOT_max="400000 100000")
    assert _cpus(tmp_path, "0::/\n") == 4
    assert _cpus(tmp_path, "0::/not/seen/here\n") == 4


def test_version_1(tmp_path: Path) -> None:
    _write(tmp_path, cpu__box__cpu_DOT_cfs_quota_us="150000", cpu__box__cpu_DOT_cfs_period_us="100000")
    assert _cpus(tmp_path, "3:cpuset:/\n2:cpu,cpuacct:/box\n") == 2
    _write(tmp_path, cpu__box__cpu_DOT_cfs_quota_us="-1")
    assert _cpus(tmp_path, "2:cpu,cpuacct:/box\n") == 16
