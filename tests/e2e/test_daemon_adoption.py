"""What a new daemon makes of what the one before left: half started, being stopped, fed, timed, of another boot."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from corral.client.environment import surroundings
from corral.jobs.job_table import JobTable
from corral.jobs.managed_job import ManagedJob
from corral.lifecycle.state import Life
from corral.measure.history import History, decode
from corral.measure.stuck_rule import Progress
from corral.model.spec import DescriptorInput, FileInput, InteractiveInput, JobInput
from corral.monitor.history_store import HistoryStore
from corral.platform.process.cpu_clock import cpu_nanoseconds
from corral.platform.process.identity import identify, is_alive
from corral.protocol import requests as p
from e2e.daemons import Daemons, job, spec, start, stdout, wait
from managers import marked, zoo_argv
from until import until

DIES_AT = os.path.join(os.path.dirname(__file__), "..", "..", "reliability", "dies_at.py")
HALF_STARTED = "the daemon ended while it was starting this job"


def die_at(daemons: Daemons, moment: str, *command: str, **fields: object) -> None:
    """Start one job by a daemon that kills itself at that moment, and wait until it has."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(daemons.home.socket)  # of a daemon that was killed
    argv = [sys.executable, DIES_AT, daemons.home.path, moment, "1"]
    with subprocess.Popen(argv, start_new_session=True) as dying:
        until(daemons.listens, "it to listen")
        with contextlib.suppress(Exception), daemons.client(start=False) as client:
            for each in command:
                (one,) = start(client, each, **fields)
            client.call(p.StopJobs(ids=(one,), wait=False), timeout=20)
        assert dying.wait(20) == -signal.SIGKILL


def test_what_was_half_started_is_ended_and_what_was_started_is_adopted(daemons: Daemons) -> None:
    die_at(daemons, "between two processes of a pipeline", "sleep 60 | sleep 60")
    assert len(marked(daemons.nonce())) == 1
    with daemons.client() as client:
        (half,) = wait(client, "1")
        assert (half.state, half.exit_status, half.reason) == ("lost", None, HALF_STARTED)
        assert marked(daemons.nonce()) == []
    daemons.signal()
    die_at(daemons, "all processes, their pids not noted", "sleep 60 | sleep 60")
    pids = sorted(marked(daemons.nonce()))
    with daemons.client() as client:
        whole = job(client, "2")
        assert (whole.state, sorted(stage.pid or 0 for stage in whole.stages)) == ("running", pids)


@pytest.mark.parametrize(
    ("moment", "states"),
    [
        ("all that went ahead are ready", {"succeeded"}),
        ("starting is committed, none has the word", {"lost"}),
        # It depends on whether they had become their programs by then, and could write into a pipe that nobody reads.
        ("one of those that went ahead has the word", {"lost", "failed"}),
        ("all that went ahead have the word", {"lost", "failed", "succeeded"}),
    ],
)
def test_what_went_ahead_of_a_start_is_started_once_at_most(
    daemons: Daemons, tmp_path: Path, moment: str, states: set[str]
) -> None:
    """A file that each process finds below /proc/self is for the stage itself to open."""
    die_at(daemons, moment, f"tee -a {tmp_path}/ran < /proc/self/comm | cat")
    with daemons.client() as client:
        (ended,) = wait(client, "1")
        assert ended.state in states
        until(lambda: not marked(daemons.nonce()), "nothing to be left")
    ran = (tmp_path / "ran").read_bytes() if (tmp_path / "ran").exists() else b""
    # Opened by what became the stage, which was called otherwise then.
    assert ran in ((b"tee\n",) if ended.state == "succeeded" else (b"", b"tee\n"))


def test_a_stop_of_which_nothing_was_sent_yet_is_finished(daemons: Daemons) -> None:
    die_at(daemons, "TERM sent, not noted", "sleep 60", stop_grace=0.2)
    with daemons.client() as client:
        (ended,) = wait(client, "1")
    assert (ended.state, ended.reason) == ("stopped", "stopped from the library")


def test_stops_of_a_stage_and_of_leftovers_go_on(daemons: Daemons) -> None:
    """Both of what ignores TERM, and with the daemon ended before the grace was over; the stage's own, not its job's."""
    stubborn = "(trap '' TERM; while :; do sleep 0.05; done) & sleep 0.1"
    with daemons.client() as client:
        (two,) = start(client, ["sh", "-c", stubborn], stop_grace=0.7)
        (one,) = start(client, f"{' '.join(zoo_argv('ignores_term'))} | cat", stop_grace=600)
        wait(client, two)
        until(lambda: job(client, two).leftovers, "its leftovers to be seen")
        until(lambda: stdout(daemons, one), "it to ignore TERM")
        client.call(p.StopJobs(ids=(two,), wait=False))
        client.call(p.StopJobs(ids=(one,), stage=1, grace=0.7, wait=False))
        until(lambda: "TERM sent" in str(client.call(p.ShowJob(one)).events), "TERM to be sent to the stage")
    daemons.signal()
    assert len(marked(daemons.nonce())) >= 3
    with daemons.client() as client:
        (ended,) = wait(client, one)
        assert (ended.state, ended.stages[0].signal) == ("stopped", "KILL")
        until(lambda: not marked(daemons.nonce()), "the leftovers to be ended too")
        told = [event.text for event in client.call(p.ShowJob(two)).events]
        assert "leftovers: stop resumed after daemon restart: TERM, KILL after 0.7s" in told


def test_the_stop_of_a_stage_that_an_earlier_corral_began_has_the_grace_of_its_job(daemons: Daemons) -> None:
    with daemons.client() as client:
        (one,) = start(client, f"{' '.join(zoo_argv('ignores_term'))} | cat", stop_grace=0.5)
        until(lambda: stdout(daemons, one), "it to ignore TERM")
        client.call(p.StopJobs(ids=(one,), stage=1, grace=600, wait=False))
        until(lambda: "TERM sent" in str(client.call(p.ShowJob(one)).events), "TERM to be sent to the stage")
    daemons.signal()
    with contextlib.closing(sqlite3.connect(daemons.home.journal)) as connection, connection:
        ((life,),) = connection.execute("SELECT life FROM jobs").fetchall()
        told = msgspec.json.decode(life)
        assert told["stages"][0].pop("stop")["grace"] == pytest.approx(600, abs=60)
        connection.execute("UPDATE jobs SET life = ?", (msgspec.json.encode(told),))
    with daemons.client() as client:
        (ended,) = wait(client, one)
    assert (ended.state, ended.stages[0].signal) == ("stopped", "KILL")


def test_input_that_broke_off_is_no_success(daemons: Daemons, tmp_path: Path) -> None:
    """What the daemon fed or held open ends with it; what had all of its input goes on."""
    reader, writer = os.pipe()
    with daemons.client() as client:
        (done,) = start(client, "echo all")
        wait(client, done)
        (source,) = start(client, "sleep 60")
        (fed,) = start(client, ["sh", "-c", "cat; sleep 60"], stdin=JobInput(done))
        (broken,) = start(client, ["sh", "-c", "cat; sleep 60"], stdin=JobInput(source))
        (open_one,) = start(client, "cat", stdin=InteractiveInput())
        queued = spec("cat", stdin=DescriptorInput(), after=(source,))
        request = p.StartJobs(specs=(queued,), surroundings=surroundings())
        (lost,) = client.call(request, (reader,)).ids
        until(lambda: "fed all" in str(client.call(p.ShowJob(fed)).events), "the feed to be over")
    os.close(reader)
    os.close(writer)
    daemons.signal()
    with daemons.client() as client:
        ended = wait(client, broken, lost)
        assert job(client, fed).state == "running"
        assert wait(client, open_one)[0].state in ("succeeded", "lost")
    assert [(each.state, each.exit_status) for each in ended] == [("failed", 125)] * 2
    assert ended[0].reason == f"the daemon ended before all of job {source} was fed to it"
    assert "its stdin was lost with the daemon" in (ended[1].reason or "")


def test_a_limit_that_ran_out_while_no_daemon_ran_and_a_pause_that_was_not_sent(daemons: Daemons) -> None:
    with daemons.client() as client:
        (late,) = start(client, "sleep 60", timeout=0.2, stop_grace=0.2)
        (paused,) = start(client, "sleep 60")
        client.call(p.PauseJobs(ids=(paused,)))
        sleeper = job(client, paused).stages[0].pid
    assert sleeper is not None
    daemons.signal()
    os.kill(sleeper, signal.SIGCONT)
    over = time.monotonic() + 0.2
    until(lambda: time.monotonic() > over, "the limit to be over")
    with daemons.client() as client:
        (ended,) = wait(client, late)
        assert (ended.state, ended.exit_status) == ("timed_out", 124)
        assert job(client, paused).state == "paused"
        until(lambda: Path(f"/proc/{sleeper}/stat").read_text().split()[2] == "T", "it to be suspended again")


def write(daemons: Daemons, statement: str, *values: object) -> None:
    connection = sqlite3.connect(daemons.home.journal)
    connection.execute(statement, values)
    connection.commit()
    connection.close()


def note_boot(daemons: Daemons, text: str) -> None:
    write(daemons, "UPDATE meta SET value = ? WHERE key = 'boot'", text)


def test_pids_of_another_boot_or_namespace_mean_nothing(daemons: Daemons, tmp_path: Path) -> None:
    """With processes that truly run under the same pid and ticks; only their marks tell of them."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with daemons.client() as client:
        (first,) = start(client, "sleep 60")
        (waiting,) = start(
            client, ["sh", "-c", f"echo $$ >> {tmp_path}/ran; cat"], stdin=FileInput(str(fifo))
        )
        pid = job(client, first).stages[0].pid
    assert pid is not None
    sleeper = identify(pid)
    assert sleeper is not None
    daemons.signal()
    note_boot(daemons, "0f0e0d0c-another-boot 4026531836")
    with daemons.client() as client:
        lost = job(client, first)
        assert (lost.state, lost.reason) == ("lost", "the machine was restarted")
        assert is_alive(sleeper)
        until(lambda: job(client, first).leftovers, "its mark to be seen")
        assert client.call(p.StopJobs(ids=(first,), grace=5.0)).reports[0].nothing_is_left
        assert job(client, waiting).state == "queued"
        (second,) = start(client, "sleep 60")
    daemons.signal()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    note_boot(daemons, f"{boot} 99")
    with daemons.client() as client:
        assert "pid namespace" in (job(client, second).reason or "")
        fifo.write_bytes(b"through\n")
        assert wait(client, waiting)[0].state == "succeeded"
    # Two daemons have queued it, one has started it.
    assert len((tmp_path / "ran").read_text().splitlines()) == 1
    assert stdout(daemons, waiting) == b"through\n"


def test_without_journal_and_home_json_the_marks_of_what_runs_tell_the_nonce(daemons: Daemons) -> None:
    with daemons.client() as client:
        (one,) = start(client, ["env", "-i", "sleep", "60"])
        (two,) = start(client, "sleep 60")
    nonce = daemons.nonce()
    daemons.signal()
    for name in os.listdir(daemons.home.path):
        if name.startswith("corral.db") or name == "home.json":
            os.unlink(os.path.join(daemons.home.path, name))
    with daemons.client() as client:
        assert daemons.nonce() == nonce
        assert [(job(client, each).state, job(client, each).leftovers) for each in (one, two)] == [
            ("lost", 1)
        ] * 2
        assert start(client, "true") == ["3"]


def test_what_was_kept_of_a_job_is_known_to_the_next_daemon(daemons: Daemons) -> None:
    """How much memory it has had, what its ended orphans have used, and, as long as it does not move, since when."""
    with daemons.client() as client:
        still, moved = start(client, "sleep 60", stuck_after=900.0) + start(client, "sleep 60")
        pids = [job(client, each).stages[0].pid or 0 for each in (still, moved)]
        until(lambda: all(job(client, each).memory_bytes for each in (still, moved)), "both to be seen")
    daemons.signal()
    long_ago = time.monotonic() - 500
    clocks = [cpu_nanoseconds(pids[0]) or 0, 5]
    for each, pid, clock in zip((still, moved), pids, clocks, strict=True):
        still_row = {"last_moved": long_ago, "cpu_ns": clock, "output_bytes": 0, "pids": [pid]}
        kept = {"peak_memory_bytes": 1 << 40, "reaped_cpu_seconds": 7.5, "still": still_row}
        write(daemons, "UPDATE jobs SET usage = ? WHERE id = ?", msgspec.json.encode(kept), each)
    with daemons.client() as client:
        seen = until(lambda: (one := job(client, still)).health and one, "it to be looked at")
        assert (seen.health, seen.peak_memory_bytes) == ("waiting", 1 << 40)
        assert seen.health_since is not None
        assert 499 < (datetime.now(UTC) - seen.health_since).total_seconds() < 600
        assert 7.5 <= (seen.cpu_seconds or 0) < 8
        assert until(lambda: job(client, moved).health, "it to be looked at") == "active"


def test_only_what_changed_is_kept_again() -> None:
    written: list[bytes] = []
    progress = Progress(time.monotonic() - 100)
    progress.observe(time.monotonic(), 55, 0, frozenset({9}))
    managed = ManagedJob(
        7, spec("sleep 60"), surroundings(), datetime.now(UTC), Life(stages=(), state="running"), []
    )
    managed.history = History(progress=progress, peak_memory_bytes=1000)
    table = JobTable()
    table.add(managed)
    journal: Any = SimpleNamespace(keep_usage=lambda _, raw: written.append(raw))
    nothing: Any = None
    history_store = HistoryStore(table, journal, nothing, nothing)
    history_store.keep_all()
    assert decode(written[0], History) == History(progress=progress, peak_memory_bytes=1000)
    managed.history.peak_memory_bytes = 1001
    history_store.keep_all()
    assert len(written) == 1
    managed.history.peak_memory_bytes = 2000
    progress.touch(time.monotonic())
    history_store.keep_all()
    assert decode(written[1], History) == History(peak_memory_bytes=2000)
