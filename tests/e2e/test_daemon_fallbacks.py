"""Systems that lack something: no pidfd, no marks. The same jobs, found and ended by the other ways."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from corral.platform.process.identity import identify, is_alive
from corral.protocol import requests as p
from e2e.daemons import Daemons, altered, job, start, wait
from managers import zoo_argv
from until import until

WITHOUT = {
    "pidfd": "from corral.platform.process import pidfd; pidfd.is_supported = lambda: False",
    "marks": "from corral.platform.process import mark; mark.why_not = lambda: 'taken away for a test'",
    "both": (
        "from corral.platform.process import mark; from corral.platform.process import pidfd; pidfd.is_supported = lambda: False;"
        " mark.why_not = lambda: 'taken away for a test'"
    ),
}


@pytest.fixture(params=sorted(WITHOUT), scope="module")
def daemons(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemons]:
    """A daemon of a poorer system."""
    with altered(tmp_path_factory.mktemp("poorer") / "home", WITHOUT[request.param]) as made:
        yield made


def test_ends_and_statuses_come_all_the_same(daemons: Daemons) -> None:
    with daemons.client(start=False) as client:
        ids = start(client, *(["sh", "-c", f"exit {n}"] for n in range(30)))
        assert [each.exit_status for each in wait(client, *ids)] == list(range(30))
        (late,) = start(client, "sleep 60", timeout=0.1)
        assert wait(client, late)[0].state == "timed_out"


@pytest.mark.parametrize("name", ["ignores_term", "own_session", "double_fork"])
def test_what_escapes_is_ended_all_the_same(daemons: Daemons, name: str) -> None:
    with daemons.client(start=False) as client:
        (one,) = start(client, zoo_argv(name))
        path = Path(daemons.home.stdout(one))
        until(lambda: path.read_bytes().endswith(b"\n"), "its habit to be in place")
        members = [identify(view.pid) for view in client.call(p.ListProcesses(job=one)).processes]
        report = client.call(p.StopJobs(ids=(one,), grace=0.2), timeout=30).reports[0]
        assert report.nothing_is_left
        assert [each for each in members if each is not None and is_alive(each)] == []
        assert len(report.processes) >= (1 if name == "ignores_term" else 2)
        said = path.read_bytes().split()[1:]
        for pid in map(int, said):
            assert not os.path.exists(f"/proc/{pid}") or (left := identify(pid)) is None or not is_alive(left)
        assert job(client, one).state == "stopped"
