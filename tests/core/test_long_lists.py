"""Lists that are longer than a line may be: in parts, through every client, and whole again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import corral
from corral.client.fast_list import fast_list
from corral.client.session import Session
from corral.client.snapshot import Snapshot
from corral.daemon.publisher import NEWEST_QUEUED
from corral.library import many_starts
from corral.library.manager import JobManager
from corral.model.errors import CorralError, UsageError
from corral.model.spec import Command, Pipeline
from corral.protocol import framing, lines, long_lists
from corral.protocol import requests as p
from corral.protocol.shorten_commands import cut_to
from e2e.daemons import Daemons, altered, start
from journals import PLACE, ended, spec
from managers import eventually, opened

JOBS = 60
LINE = 24 << 10
"""Bytes of a line that the clients here take: some forty jobs."""
SMALL = "from corral.daemon import list_reply; from corral.protocol import long_lists; from corral.daemon import publisher\nlist_reply.A_PASS = 5\npublisher.MOST_STAGES = 20\nlong_lists.PART_BYTES = 4 << 10"


@pytest.fixture
def short_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """This program takes only short lines."""
    monkeypatch.setattr(lines, "REPLY_LIMIT", LINE)
    monkeypatch.setattr(framing, "REPLY_LIMIT", LINE)


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[Daemons]:
    with altered(tmp_path / "home", SMALL) as made:
        yield made


async def waiting(manager: JobManager) -> list[corral.JobHandle]:
    """Many jobs behind one that sleeps."""
    first = await manager.start(["sleep", "60"])
    return [first, *await manager.start_many([["true"]] * JOBS, after=[first])]


def test_pieces_are_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_lists, "PART_BYTES", 2000)
    for count in (0, 1, 2, 3, 4, 5, 20):
        whole = p.Jobs(tuple(ended(number, spec("true")) for number in range(1, count + 1)), ("x",), {"7": 1})
        came = long_lists.Parts()
        made = list(long_lists.reply_lines(3, whole))
        envelopes = [came.whole(lines.read_envelope(line)) for line in made]
        *firsts, last = envelopes
        assert firsts == [None] * (len(made) - 1)
        assert last is not None
        assert lines.read_reply(last, p.ListJobs()) == whole
        assert all(len(line) < 4000 for line in made)
    assert len(made) > 5
    assert len(list(long_lists.reply_lines(3, p.Done()))) == 1


async def test_a_program_lists_waits_and_stops(daemons: Daemons, short_lines: None) -> None:
    async with corral.connect(daemons.home.path) as manager:
        handles = await waiting(manager)
        assert [job.id for job in await manager.jobs()] == [handle.id for handle in handles]
        wait = asyncio.create_task(manager.wait(handles))
        reports = await manager.stop(handles, grace=0)
        assert [report.state for report in reports] == ["stopped"] * len(handles)
        assert [report.note for report in reports[1:]] == ["never started"] * JOBS
        assert [job.state for job in await wait] == ["stopped"] * len(handles)
        assert len(await manager.jobs(all=True)) == len(handles)


async def test_a_screen_is_told_all_at_once(daemons: Daemons, short_lines: None) -> None:
    async with corral.connect(daemons.home.path) as manager:
        handles = await waiting(manager)
        screen = await Session.connect(daemons.home, origin="dashboard")
        await screen.subscribe()
        assert list(screen.snapshot.jobs) == [handle.id for handle in handles]
        # All change at once, which again is more than a line.
        await manager.stop(handles, grace=0)
        await eventually(
            lambda: {job.state for job in screen.snapshot.jobs.values()} == {"stopped"}, "all ends to be told"
        )
        more = await manager.start(["true"])
        await eventually(lambda: more.id in screen.snapshot.jobs, "the screen to be told on")
        for handle in handles:
            await handle.remove()
        await eventually(lambda: list(screen.snapshot.jobs) == [more.id], "those that are gone to be told of")
        await screen.end()


def queued_in(snapshot: Snapshot) -> list[str]:
    return [job.id for job in snapshot.jobs.values() if job.state == "queued"]


async def test_a_screen_is_told_of_the_first_of_a_long_queue_and_of_more_as_it_asks(daemons: Daemons) -> None:
    with daemons.client() as client:
        (gate,) = start(client, ["sleep", "60"])
        ids = start(client, *[["true"]] * 200, after=(gate,))
        screen = await Session.connect(daemons.home, origin="dashboard")
        await screen.subscribe(queued=50)
        listed = [*ids[:50], *ids[-NEWEST_QUEUED:]]
        assert (queued_in(screen.snapshot), screen.snapshot.queued) == (listed, 200)
        (new,) = start(client, ["true"], after=(gate,))
        await eventually(lambda: screen.snapshot.jobs.get(new), "the newest to be told of")
        assert screen.snapshot.queued == 201
        client.call(p.StopJobs(ids=tuple(ids[:10])))
        await eventually(lambda: ids[59] in screen.snapshot.jobs, "those that come next to be told of")
        await eventually(lambda: screen.snapshot.jobs[ids[0]].state == "stopped", "its end to be told")
        await screen.subscribe(queued=100)
        assert queued_in(screen.snapshot) == [*ids[10:110], *ids[-NEWEST_QUEUED + 1 :], new]
        client.call(p.StopJobs(all=True, grace=0.0), timeout=30)
        await eventually(lambda: not queued_in(screen.snapshot), "the whole queue to be gone")
        assert screen.snapshot.queued == 0
        await screen.end()


async def test_of_long_pipelines_it_is_told_of_fewer_at_first(daemons: Daemons) -> None:
    with daemons.client() as client:
        (gate,) = start(client, ["sleep", "60"])
        ids = start(client, *["|".join(["cat"] * 32)] * 100, after=(gate,))
        screen = await Session.connect(daemons.home, origin="dashboard")
        for asked, first in ((50, 6), (400, 50), (800, 100)):
            await screen.subscribe(queued=asked)
            listed = sorted({*ids[:first], *ids[-NEWEST_QUEUED:]}, key=int)
            assert (queued_in(screen.snapshot), screen.snapshot.queued) == (listed, 100)
        client.call(p.StopJobs(all=True, grace=0.0), timeout=30)
        await screen.end()


def test_the_command_line_lists_and_stops(daemons: Daemons, short_lines: None) -> None:
    with daemons.client() as client:
        (first,) = start(client, ["sleep", "60"])
        ids = [first, *start(client, *[["true"]] * JOBS, after=(first,))]
        found = fast_list(daemons.home)
        assert found is not None
        assert [job["id"] for part in found for job in part] == ids
        assert len(client.call(p.ListJobs(ids=tuple(ids))).jobs) == len(ids)
        stops = client.call(p.StopJobs(all=True, grace=0.0), timeout=30)
        assert [report.id for report in stops.reports] == ids
        assert stops.titles == dict.fromkeys(ids, "true") | {first: "sleep"}
        again = client.call(p.StopJobs(ids=tuple(ids)), timeout=30)
        assert {report.note for report in again.reports} == {"already ended"}


def test_a_client_that_takes_no_parts_gets_one_line(daemons: Daemons) -> None:
    with daemons.client() as client:
        (first,) = start(client, ["sleep", "60"])
        start(client, *[["true"]] * JOBS, after=(first,))
    with daemons.raw() as sock, sock.makefile("rb") as received:
        hello = {"id": 1, "op": "hello", "version": "0", "protocol": p.PROTOCOL, "client": "library"}
        for request in (hello, {"id": 2, "op": "list"}):
            sock.sendall(json.dumps(request).encode() + b"\n")
            reply = json.loads(received.readline())
        assert len(reply["ok"]["jobs"]) == JOBS + 1


async def test_what_fits_into_no_line_is_an_error_and_nobody_waits_for_it(short_lines: None) -> None:
    async with opened() as manager:
        handle = await manager.start(["true", "x" * 2 * LINE])
        with pytest.raises(CorralError, match=f"line of more than {LINE} bytes"):
            await manager.session.call(p.ShowJob(job=handle.id))
        assert (await manager.run("true")).succeeded


# ---- starting many ------------------------------------------------------------------------------------------------


def test_requests_are_cut_by_number_and_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many_starts, "JOBS_A_REQUEST", 3)
    monkeypatch.setattr(many_starts, "BYTES_A_REQUEST", 5000)
    specs = [spec("a" * size) for size in (1, 1, 1, 1, 4900, 9000, 1, 1)]
    sizes = [len(request.specs) for request in many_starts.requests(specs, PLACE)]
    assert sizes == [3, 1, 1, 1, 2]
    assert [one for request in many_starts.requests(specs, PLACE) for one in request.specs] == specs
    assert list(many_starts.requests([], PLACE)) == []


async def test_what_was_started_before_a_refusal_is_in_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many_starts, "JOBS_A_REQUEST", 2)
    too_many = Pipeline((Command(("cat",)),) * 300)
    async with opened() as manager:
        with pytest.raises(
            corral.PartlyStartedError, match="2 of 4 jobs were started, then: 300 stages"
        ) as caught:
            await manager.start_many([["true"], ["echo", "b"], too_many, ["true"]])
        assert isinstance(caught.value.cause, UsageError)
        assert [job.state for job in await manager.wait(caught.value.started)] == ["succeeded"] * 2
        assert await caught.value.started[1].stdout() == b"b\n"
        with pytest.raises(UsageError, match="300 stages"):
            await manager.start_many([too_many])


def test_a_job_is_cut_for_a_list_and_says_so() -> None:
    whole = ended(1, spec("a" * 3000, "b" * 10, "c" * 3000))
    cut = cut_to(whole, 2000)
    assert cut.cut
    assert not whole.cut
    assert len(msgspec.json.encode(cut)) < len(msgspec.json.encode(whole)) - 4000
    assert cut_to(cut, 2000) == cut
    assert cut_to(whole, 20_000) is whole
