"""Another program locks the journal: nothing waits for it that needs no note of it, and nothing is lost."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from corral.client.environment import surroundings
from corral.journal.reader import JournalReader
from corral.model.home import Home
from corral.protocol import requests as p
from e2e.command import Corral
from e2e.daemons import Daemons, altered, spec, start, wait
from journals import locked
from until import until

ANSWERS = 3.0
"""Seconds. SQLite's own patience was five, several times a request."""


def states(home: Home) -> dict[str, str]:
    with closing(JournalReader.open(home)) as reader:
        return {found.id: found.state for found in reader.jobs()}


def test_stops_and_time_limits_wait_for_no_lock_and_everything_is_answered(daemons: Daemons) -> None:
    with daemons.client() as client:
        by_hand, limited = start(client, ["sleep", "60"]), start(client, ["sleep", "60"], timeout=0.3)
        with locked(daemons.home.journal) as who:
            (report,) = client.call(p.StopJobs(ids=tuple(by_hand)), timeout=ANSWERS).reports
            assert (report.state, report.survivors) == ("stopped", ())
            assert (
                client.call(p.WaitForJobs(ids=tuple(limited)), timeout=ANSWERS).jobs[0].state == "timed_out"
            )
            (notice,) = client.call(p.AskStatus(), timeout=ANSWERS).notices
            assert f"is locked by {who}" in notice
            listed = client.call(p.ListJobs(all=True), timeout=ANSWERS).jobs
            assert [found.state for found in listed] == ["stopped", "timed_out"]
            detail = client.call(p.ShowJob(job=by_hand[0]), timeout=ANSWERS)
            assert [event.kind for event in detail.events][-1] == "ended"
            assert detail.stop is not None
            assert "time limit" in client.call(p.AskWhy(job=limited[0]), timeout=ANSWERS).summary
        until(lambda: states(daemons.home) == {"1": "stopped", "2": "timed_out"}, "all of it to be written")
        assert client.call(p.AskStatus()).notices == ()


def test_what_cannot_be_noted_is_refused_with_who_locks_and_half_of_nothing_is_done(tmp_path: Path) -> None:
    impatient = "from corral.journal import commits\ncommits.PATIENCE_SECONDS = 0.2"
    with altered(tmp_path / "home", impatient):
        corral = Corral(tmp_path / "home", tmp_path)
        assert corral.ok("run", "--wait", "-n", "first", "--", "echo", "kept") == "kept"
        with locked(f"{corral.home}/corral.db") as who:
            for words in (["run", "--", "true"], ["rm", "1"], ["restart", "1"], ["daemon", "restart"]):
                refused = corral(*words)
                assert refused.returncode == 125
                assert f"is locked by {who}: end its transaction, or that program" in refused.stderr
            assert corral.ok("logs", "first") == "kept"
            assert corral.ok("ps", "-aq") == "1"
        assert corral.ok("run", "--wait", "--", "echo", "again") == "again"
        assert corral.ok("ps", "-aq") == "1\n2"
        corral.ok("rm", "first")
        assert corral.ok("ps", "-aq") == "2"


def test_who_waits_for_a_lock_is_served_once_it_goes(daemons: Daemons) -> None:
    with daemons.client() as client:
        client.call(p.AskStatus())
        with locked(daemons.home.journal):
            asked = client.begin(p.StartJobs(specs=(spec("true"),), surroundings=surroundings()))
            assert client.call(p.ListJobs(all=True), timeout=ANSWERS).jobs == ()
        started = asked.result(timeout=20)
        assert started is not None
        assert [found.state for found in wait(client, *started.ids)] == ["succeeded"]


def test_neither_a_crash_nor_the_end_of_a_daemon_loses_what_it_could_not_note(daemons: Daemons) -> None:
    known = {"1": "stopped", "2": "stopped", "3": "running"}
    with daemons.client() as client:
        start(client, ["sleep", "60"], ["sleep", "60"], ["sleep", "60"])
        until(lambda: set(states(daemons.home).values()) == {"running"}, "their start to be noted")
    with locked(daemons.home.journal):
        with daemons.client() as client:
            client.call(p.StopJobs(ids=("1",)), timeout=ANSWERS)
        daemons.signal()
        with daemons.client() as client:
            (report,) = client.call(p.StopJobs(ids=("2",)), timeout=ANSWERS).reports
            assert report.state == "stopped"
            client.call(p.Shutdown(jobs="leave"), timeout=ANSWERS)
        until(lambda: not daemons.alive(), "the daemon to end")
        assert states(daemons.home) == known
        with daemons.client() as client:
            assert {found.id: found.state for found in client.call(p.ListJobs(all=True)).jobs} == known
            detail = client.call(p.ShowJob(job="2"))
            assert detail.stop is not None
            assert [each.ended_by for each in detail.stop.processes] == ["TERM"]
    for path in Path(daemons.home.path).glob("corral.db.unwritten.*"):
        until(lambda path=path: not path.read_bytes().strip(b"\0"), f"nothing to be left in {path.name}")
    assert states(daemons.home) == known


def test_who_reads_an_old_state_for_ever_is_named(tmp_path: Path) -> None:
    small = "from corral.journal import upkeep\nupkeep._LONG_LOG = 4096\nupkeep.WORK_OFF_CHANGES = 1"
    with altered(tmp_path / "home", small) as daemons, daemons.client() as client:
        wait(client, *start(client, "true"))
        with locked(daemons.home.journal, "BEGIN", "SELECT * FROM jobs") as who:
            wait(client, *start(client, "true"))
            (said,) = until(lambda: client.call(p.AskStatus()).notices, "it to be said")
            assert f"since {who} goes on reading an old state of it" in said
        wait(client, *start(client, "true"))
        until(lambda: not client.call(p.AskStatus()).notices, "it to be over")
