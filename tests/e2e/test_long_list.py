"""Lists of more jobs than fit into one reply: all of them are listed, and the daemon is as small afterwards as before."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from corral.journal.journal import Journal
from corral.library.manager import connect
from corral.model.home import Home
from corral.protocol import requests as p
from e2e.command import Corral
from e2e.daemons import Daemons, altered, start, wait
from journals import PLACE, ended, spec


def fill(home: Home, count: int, word: str = "x") -> list[str]:
    """So many jobs that ended just now."""
    now, what = datetime.now(UTC), spec("true", word, name="old")
    with closing(Journal.open(home)) as journal:
        ids = journal.add_jobs([what] * count, PLACE, now)
        for number in ids:
            journal.job_ended(replace(ended(number, what), created=now, started=now, ended=now))
    return [str(number) for number in ids]


@pytest.mark.parametrize(
    "few", ["long_lists.PART_BYTES = 2000", "list_reply.A_PASS = long_lists.PART_BYTES = 1"]
)
def test_a_list_in_parts_is_whole(few: str, tmp_path: Path) -> None:
    ids = fill(Home(str(tmp_path / "home")), 24)
    with altered(
        tmp_path / "home",
        f"from corral.daemon import list_reply; from corral.protocol import long_lists\n{few}",
    ) as daemons:
        corral = Corral(tmp_path / "home", tmp_path)
        with daemons.client() as client:
            ids += start(client, ["sleep", "60"], name="runs")
            assert [job.id for job in client.call(p.ListJobs(all=True)).jobs] == ids
        assert corral.ok("ps", "-aq").split() == ids
        header, *rows = corral.ok("ps", "-a").splitlines()
        assert header.split()[:3] == ["ID", "NAME", "STATE"]
        assert [row.split()[0] for row in rows] == ids
        assert {row.index("succeeded") for row in rows[:-1]} == {header.index("STATE")}
        assert [job["id"] for job in json.loads(corral.ok("ps", "-a", "--json"))] == ids
        assert json.loads(corral.ok("ps", "-a", "--json", "--state", "failed")) == []
        assert corral.ok("ps", "--all", "--quiet", "--sort=id").split() == ids
        assert corral.ok("ps", "-q").split() == ids[-1:]


def test_without_a_daemon_it_is_whole_too(tmp_path: Path) -> None:
    corral = Corral(tmp_path / "home", tmp_path)
    header = corral.ok("ps", "-a")
    ids = fill(Home(str(tmp_path / "home")), 1100)
    listed = corral.ok("ps", "-a").splitlines()
    assert listed[0].split() == header.split()
    assert [row.split()[0] for row in listed[1:]] == ids
    assert len(json.loads(corral.ok("ps", "-a", "--json"))) == 1100


async def test_the_library_has_all_of_them_too(tmp_path: Path) -> None:
    ids = fill(Home(str(tmp_path / "home")), 9)
    with altered(
        tmp_path / "home", "from corral.protocol import long_lists\nlong_lists.PART_BYTES = 1"
    ) as daemons:
        async with connect(home=daemons.home.path) as manager:
            assert [job.id for job in await manager.jobs(all=True)] == ids


def test_a_client_that_takes_no_parts_gets_the_newest_that_fit(tmp_path: Path) -> None:
    ids = fill(Home(str(tmp_path / "home")), 24)
    changes = "from corral.daemon import list_reply; from corral.protocol import long_lists\nlist_reply.A_PASS = long_lists.PART_BYTES = 1\nlong_lists.REPLY_LIMIT = 9000"
    with altered(tmp_path / "home", changes) as daemons, daemons.raw() as sock, sock.makefile("rb") as lines:
        hello = {"id": 1, "op": "hello", "version": "0", "protocol": p.PROTOCOL, "client": "library"}
        for number, request in enumerate((hello, {"op": "list", "all": True}), 1):
            sock.sendall(json.dumps({**request, "id": number}).encode() + b"\n")
            answer = json.loads(lines.readline())["ok"]
        listed = [job["id"] for job in answer["jobs"]]
        assert listed == ids[-len(listed) :]
        assert 0 < len(listed) < 24


def test_long_commands_are_cut_so_that_all_fit(tmp_path: Path) -> None:
    home = Home(str(tmp_path / "home"))
    short, long = fill(home, 30), fill(home, 2, "y" * 100_000)
    less = "from corral.protocol import shorten_commands; from corral.daemon import list_reply\nlist_reply.share_of = lambda sizes: shorten_commands.share_of(sizes, 60_000)"
    with altered(tmp_path / "home", less) as daemons, daemons.client() as client:
        commands = {job.id: job.command for job in client.call(p.ListJobs(all=True)).jobs}
    assert {commands[job] for job in short} == {"true | x"}
    assert all(len(commands[job]) < 40_000 and commands[job].endswith("…") for job in long)


def test_a_list_of_thousands_leaves_the_daemon_as_small_as_it_was(tmp_path: Path) -> None:
    daemons = Daemons(tmp_path / "home")
    fill(daemons.home, 10_000)
    with daemons.client() as client:
        wait(client, *start(client, "true"))
        before = memory_of(client.hello.pid)
        for _ in range(3):
            assert len(client.call(p.ListJobs(all=True)).jobs) == 10_001
        assert memory_of(client.hello.pid) - before < 6 << 20
    daemons.end()


def memory_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
