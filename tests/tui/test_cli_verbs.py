"""What each verb asks for, and what it prints of the answer."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec import structs

from corral.model.errors import DaemonUnavailableError, NotSoError
from corral.model.job import JobEvent, ProcessView
from corral.model.reports import (
    Advice,
    DaemonStatus,
    Detail,
    Diagnosis,
    Frame,
    PeekedPipe,
    PythonStack,
    Root,
    StoppedProcess,
    StopReport,
    Survivor,
    Wait,
)
from corral.protocol.requests import (
    AskStatus,
    AskWhy,
    CloseInput,
    Done,
    Jobs,
    ListJobs,
    OpenInput,
    Outcome,
    PauseJobs,
    PeekPipes,
    Pipes,
    RemoveJobs,
    RestartJobs,
    ShowJob,
    Shutdown,
    SignalJobs,
    Started,
    StopJobs,
    Stops,
    Waited,
    WaitForJobs,
)
from corral_tui.main import main
from corral_tui.text.stop_report import report_lines, result_sentence
from tui.cli_fakes import CREATED, FakeDaemon, ended_job, fake, make_job, pipeline_job

__all__ = ["fake"]


def _process(pid: int, *signals: str, ended_by: str | None, where: str = "child") -> StoppedProcess:
    return StoppedProcess(
        pid=pid, name="sleep", stage=1, signals=signals, ended_by=ended_by, seconds=0.3, where=where
    )


NINE = (
    _process(1, "TERM", ended_by="exit 2", where="leader"),
    *(_process(pid, "TERM", ended_by="TERM") for pid in range(2, 6)),
    *(_process(pid, ended_by="itself") for pid in range(6, 9)),
    _process(9, "TERM", "KILL", ended_by="KILL", where="its own session, forked off"),
)
GONE = StopReport(id="7", state="stopped", seconds=5.0, processes=NINE, looked_at=datetime.now(UTC))
LEFT = StopReport(
    id="7",
    state="stopping",
    seconds=10.0,
    processes=NINE[:1],
    survivors=(
        Survivor(pid=9, name="dd", stage=1, state="D", blocked_in="nfs_wait", reason="blocked in the kernel"),
    ),
)


def test_the_sentence_of_proof() -> None:
    assert (
        result_sentence(GONE) == "Nothing of it is left. 9 processes: 5 by TERM, 3 by themselves, 1 by KILL."
    )
    assert result_sentence(LEFT) == "1 process is left, and the job stays stopping. 1 process: 1 by TERM."
    assert result_sentence(structs.replace(GONE, processes=())) == "Nothing of it is left."


def test_a_report_names_what_a_plain_kill_would_have_missed() -> None:
    many = structs.replace(
        GONE, processes=NINE + tuple(_process(pid, "TERM", ended_by="TERM") for pid in (10, 11))
    )
    lines = list(report_lines(many, "7 tests"))
    assert len(lines) == 3
    assert "its own session, forked off" in lines[1]
    assert "TERM then KILL" in lines[1]
    assert "nfs_wait" in list(report_lines(LEFT, "7 tests"))[2]


def test_a_report_of_few_processes_has_a_line_for_each() -> None:
    head, *lines, proof = report_lines(structs.replace(GONE, seconds=0.001), "7 tests")
    assert head == "7 tests: stopped at once"
    assert [line.split()[0] for line in lines] == [str(process.pid) for process in NINE]
    assert lines[0] == "  1  sleep  stage 1  leader  TERM  ended by exit 2 after 0.3s"
    assert proof.startswith("Nothing of it is left. 9 processes")


def test_a_report_on_leftovers_says_so() -> None:
    ended = structs.replace(
        GONE, state="succeeded", seconds=0.12, processes=(_process(5, "TERM", ended_by="TERM"),)
    )
    assert next(report_lines(ended, "13 bg")) == "13 bg: its leftovers ended in 0.1s"
    left = structs.replace(ended, processes=(), survivors=LEFT.survivors)
    lines = list(report_lines(left, "13 bg"))
    assert lines[0] == "13 bg: it had succeeded before; its leftovers are being ended"
    assert lines[-1] == "1 process is left."


def test_a_report_with_a_doubt_says_that_nothing_proves_it() -> None:
    doubt = Survivor(pid=9, name="nginx", stage=None, state="S", blocked_in=None, reason="not signalled")
    report = structs.replace(GONE, in_doubt=(doubt,))
    assert not report.nothing_is_left
    *_, line, proof = report_lines(report, "7 tests")
    assert line == "  9  nginx  IN DOUBT  state S: not signalled"
    assert proof == (
        "Of what is proven to be of it nothing is left; 1 process may be of it."
        " 9 processes: 5 by TERM, 3 by themselves, 1 by KILL."
    )
    ended = structs.replace(report, state="succeeded", processes=(), note="already ended")
    assert list(report_lines(ended, "7 tests")) == ["7 tests: already ended", line, proof.split(" 9 ")[0]]


def test_a_report_of_a_job_that_ran_into_its_time_limit() -> None:
    report = StopReport(id="7", state="timed_out", seconds=1.2)
    assert next(report_lines(report, "the stop")) == "the stop: timed out, and was ended after 1s"


def test_a_report_of_a_fork_bomb_stays_short() -> None:
    bomb = StopReport(
        id="7",
        state="stopped",
        seconds=1.0,
        processes=tuple(_process(pid, "TERM", "KILL", ended_by="KILL") for pid in range(500)),
    )
    lines = list(report_lines(bomb, "7 bomb"))
    assert len(lines) < 30
    assert "480 more" in lines[-2]


def test_stop(fake: FakeDaemon, capsys: Any) -> None:
    fake.answers[StopJobs] = Stops((GONE,))
    fake.answers[ListJobs] = Jobs((ended_job(7, name="tests"),))
    assert main(["stop", "tests", "--grace", "2s", "-s", "INT"]) == 0
    assert fake.asked[0] == ListJobs(ids=("tests",))
    request = fake.asked[1]
    assert isinstance(request, StopJobs)
    # By number: were the daemon to go away meanwhile, the name might mean another job to the next one.
    assert (request.ids, request.grace, request.signal, request.wait) == (("7",), 2.0, "INT", True)
    assert capsys.readouterr().out.endswith("3 by themselves, 1 by KILL.\n")


def test_stop_with_survivors_or_unknown_ids_is_1(fake: FakeDaemon, capsys: Any) -> None:
    fake.answers[ListJobs] = Jobs((make_job(7, state="stopping"),))
    fake.answers[StopJobs] = Stops((LEFT,))
    assert main(["stop", "7"]) == 1
    fake.answers[StopJobs] = Stops((GONE,), ("no job 99; corral ps -a lists all",))
    assert main(["stop", "7", "99"]) == 1
    assert capsys.readouterr().err == "corral: no job 99; corral ps -a lists all\n"


def test_stop_without_waiting_is_0(fake: FakeDaemon, capsys: Any) -> None:
    fake.answers[ListJobs] = Jobs((make_job(7, state="stopping"),))
    fake.answers[StopJobs] = Stops((StopReport(id="7", state="stopping", seconds=0.0),))
    assert main(["stop", "--no-wait", "--all"]) == 0
    assert fake.asked[0] == StopJobs(all=True, wait=False, by="by corral stop")
    assert "is being stopped" in capsys.readouterr().out


def test_stop_of_all_lists_nothing_and_waits_by_number(fake: FakeDaemon, capsys: Any) -> None:
    never = StopReport(id="8", state="stopped", seconds=0.0, note="never started", looked_at=CREATED)
    begun = Stops((StopReport(id="7", state="stopping", seconds=0.0), never), titles={"7": "a", "8": "b"})
    whole = Stops((structs.replace(GONE, looked_at=CREATED),), titles={"7": "a"})
    fake.answers[StopJobs] = lambda request: whole if request.wait else begun
    assert main(["stop", "--all"]) == 0
    assert fake.asked == [
        StopJobs(all=True, wait=False, by="by corral stop"),
        StopJobs(ids=("7",), asked_before=True, by="by corral stop"),
    ]
    head, *_, last = capsys.readouterr().out.splitlines()
    assert head.startswith("7 a: stopped")
    assert last == "8 b: never started."


def test_the_stop_of_the_daemon_with_its_jobs_lists_nothing(fake: FakeDaemon, capsys: Any) -> None:
    fake.answers[Shutdown] = Stops((GONE,), titles={"7": "tests"})
    assert main(["daemon", "stop", "--jobs", "stop"]) == 0
    assert fake.asked == [Shutdown(jobs="stop")]
    assert capsys.readouterr().out.startswith("7 tests: stopped")


def test_thousands_are_not_all_named(fake: FakeDaemon, capsys: Any) -> None:
    jobs = tuple(make_job(number) for number in range(1, 4752))
    fake.answers[ListJobs] = Jobs(jobs)
    fake.answers[WaitForJobs] = Waited(jobs, timed_out=True)
    assert main(["daemon", "stop"]) == 1
    assert main(["wait", "--timeout", "1s", *(job.id for job in jobs)]) == 124
    refused, waited = capsys.readouterr().err.splitlines()
    assert refused.startswith("corral: daemon stop: 4751 jobs have not ended: 1 sleep, ")
    assert "20 sleep and 4731 more; corral daemon stop --jobs stop" in refused
    assert "20 sleep and 4731 more had not ended after 1 s" in waited


def test_stop_of_leftovers_without_waiting_claims_nothing(fake: FakeDaemon, capsys: Any) -> None:
    fake.answers[ListJobs] = Jobs((ended_job(13, name="bg", leftovers=1),))
    going_on = StopReport(
        id="13", state="succeeded", seconds=0.0, processes=(_process(5, "TERM", ended_by=None),)
    )
    fake.answers[StopJobs] = Stops((going_on,))
    assert main(["stop", "--no-wait", "13"]) == 0
    told = "13 bg: its leftovers are being ended; corral stop 13 waits for their end\n"
    assert capsys.readouterr().out == told


def test_stop_json_is_a_list(fake: FakeDaemon, capsys: Any) -> None:
    fake.answers[StopJobs] = Stops((LEFT,))
    fake.answers[ListJobs] = Jobs(())
    assert main(["stop", "--json", "7"]) == 1
    (report,) = json.loads(capsys.readouterr().out)
    assert report["survivors"][0]["blocked_in"] == "nfs_wait"
    assert report["processes"][0]["signals"] == ["TERM"]


def test_kill_is_a_stop_without_grace(fake: FakeDaemon, capsys: Any) -> None:
    fake.answers[StopJobs] = Stops((GONE,))
    fake.answers[ListJobs] = Jobs(())
    assert main(["kill", "7"]) == 0
    assert fake.asked[0] == StopJobs(ids=("7",), grace=0.0, by="by corral kill")


@pytest.mark.parametrize(
    ("jobs", "options", "status"),
    [
        ([ended_job(7), ended_job(8)], [], 0),
        ([ended_job(7), ended_job(8, state="failed", exit_status=3)], [], 3),
        (
            [ended_job(7, state="stopped", exit_status=143), ended_job(8, state="failed", exit_status=3)],
            [],
            143,
        ),
        ([ended_job(7, state="timed_out", exit_status=124)], [], 124),
        ([ended_job(7, state="lost", exit_status=None)], [], 125),
        ([ended_job(7, state="stopped", exit_status=0)], ["--any"], 0),
    ],
)
def test_wait_exits_as_the_first_that_did_not_succeed(
    jobs: list[Any], options: list[str], status: int, fake: FakeDaemon
) -> None:
    fake.answers[WaitForJobs] = Waited(tuple(jobs))
    assert main(["wait", *options, "7", "8"]) == status


def test_wait_any_prints_the_id_and_a_timeout_is_124(fake: FakeDaemon, capsys: Any) -> None:
    fake.answers[WaitForJobs] = Waited((ended_job(8),))
    assert main(["wait", "--any", "7", "8"]) == 0
    assert capsys.readouterr().out == "8\n"
    fake.answers[WaitForJobs] = Waited((ended_job(8), make_job(7)), timed_out=True)
    assert main(["wait", "7", "8", "--timeout", "1s"]) == 124
    assert fake.asked[-1] == WaitForJobs(ids=("7", "8"), timeout=1.0)
    said = capsys.readouterr()
    assert said.out == ""
    assert "7 sleep had not ended after 1 s" in said.err
    fake.answers[WaitForJobs] = DaemonUnavailableError("the daemon was ended; its jobs go on")
    assert main(["wait", "7", "8"]) == 125
    told = "corral: wait: the daemon was ended; its jobs go on, corral wait 7 8 waits again\n"
    assert capsys.readouterr().err == told
    fake.answers[ListJobs] = Jobs((make_job(7, name="build"),), ("no job x",))
    assert main(["wait", "build", "x"]) == 125
    assert capsys.readouterr().err == "corral: no job x\n"


def test_signal_pause_and_rm(fake: FakeDaemon, capsys: Any) -> None:
    for kind in (SignalJobs, PauseJobs, RemoveJobs):
        fake.answers[kind] = Outcome(done=("7: done",), errors=())
    assert main(["signal", "9", "7", "--tree"]) == 0
    assert main(["pause", "7", "8"]) == 0
    assert main(["rm", "7", "--force"]) == 0
    assert fake.asked == [
        SignalJobs(ids=("7",), signal="KILL", tree=True),
        PauseJobs(ids=("7", "8")),
        RemoveJobs(ids=("7",), force=True),
    ]
    assert capsys.readouterr().out == ""
    fake.answers[PauseJobs] = Outcome(done=("7",), errors=("job 8: it has ended",))
    assert main(["pause", "7", "8"]) == 1
    assert capsys.readouterr().err == "corral: job 8: it has ended\n"


def test_restart_prints_new_ids_and_goes_on_after_a_refusal(fake: FakeDaemon, capsys: Any) -> None:
    def answer(request: RestartJobs) -> object:
        return NotSoError("job 8: no") if request.ids == ("8",) else Started(("10",))

    fake.answers[RestartJobs] = answer
    fake.answers[ListJobs] = Jobs(jobs=())
    assert main(["restart", "8", "9"]) == 1
    assert capsys.readouterr() == ("10\n", "corral: job 8: no\n")


@pytest.mark.parametrize(
    ("words", "written"),
    [(["y"], b"y\n"), (["-n", "y"], b"y"), (["y", "--eof"], b"y\n"), (["--", "-x"], b"-x\n")],
)
def test_send_writes_to_the_descriptor_that_came(words: list[str], written: bytes, fake: FakeDaemon) -> None:
    reader, writer = os.pipe()
    fake.received = [writer]
    fake.answers[OpenInput] = fake.answers[CloseInput] = Done()
    assert main(["send", "7", *words]) == 0
    assert os.read(reader, 100) == written
    assert os.read(reader, 100) == b""
    os.close(reader)
    assert (fake.asked[-1] == CloseInput(job="7")) is ("--eof" in words)


def test_send_eof_alone_opens_nothing(fake: FakeDaemon) -> None:
    fake.answers[CloseInput] = Done()
    assert main(["send", "--eof", "7"]) == 0
    assert fake.asked == [CloseInput(job="7")]


def test_send_to_nobody_who_reads(fake: FakeDaemon, capsys: Any) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    fake.received = [writer]
    fake.answers[OpenInput] = Done()
    assert main(["send", "7", "y"]) == 1
    assert "does not read its stdin any more" in capsys.readouterr().err


def test_peek(fake: FakeDaemon, capsys: Any) -> None:
    pipe = PeekedPipe(number=1, from_stage=1, to_stage=2, fill_bytes=65536, capacity_bytes=None)
    fake.answers[PeekPipes] = Pipes((pipe,))
    assert main(["peek", "7", "1"]) == 0
    assert fake.asked == [PeekPipes(job="7", pipe=1)]
    assert capsys.readouterr().out.splitlines()[1].split() == ["1", "1", "2", "64K", "-", "-"]


def test_peek_where_there_is_no_pipe(fake: FakeDaemon, capsys: Any) -> None:
    fake.answers[PeekPipes] = Pipes(())
    assert main(["peek", "7"]) == 1
    said = capsys.readouterr()
    assert (said.out, len(said.err.splitlines())) == ("", 1)


def test_why_in_words_and_in_json(fake: FakeDaemon, capsys: Any) -> None:
    fake.answers[AskWhy] = Diagnosis(
        id="7",
        health="stuck",
        since=CREATED,
        summary="cat waits for input",
        root=Root(stage=1, pid=10, kind="pipe_read"),
        waits=(Wait(stage=1, pid=10, name="cat", kind="pipe_read", detail="reads an empty pipe"),),
        advice=(Advice("give it some", "corral send 7 TEXT"),),
        not_looked_at=("sockets: the next release",),
    )
    assert main(["why"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("7: cat waits for input\n")
    assert "\x1b" not in out
    for expected in (
        "EVIDENCE",
        "10 cat  stage 1  pipe_read",
        "corral send 7 TEXT",
        "not looked at: sockets",
    ):
        assert expected in out
    assert main(["why", "7", "--json"]) == 0
    why = json.loads(capsys.readouterr().out)
    assert why["root"] == {"stage": 1, "pid": 10, "kind": "pipe_read"}
    assert [(asked.job, asked.stacks) for asked in fake.asked] == [(None, True), ("7", True)]


def test_where_python_code_stands(fake: FakeDaemon, capsys: Any) -> None:
    """The innermost call first; what a program calls itself is data."""
    frames = (Frame("/srv/take.py", 12, "take"), Frame("/srv/\aa.py", 3, "main"))
    stack = PythonStack(
        pid=10, stage=1, name="python", thread=10, thread_name="MainThread", frames=frames, left_out=3
    )
    fake.answers[AskWhy] = Diagnosis(
        id="7", health="stuck", since=CREATED, summary="it waits", stacks=(stack,)
    )
    assert main(["why", "7"]) == 0
    told = capsys.readouterr().out.split("WHERE THE PYTHON CODE STANDS\n")[1]
    assert told.splitlines() == [
        "  10 python  stage 1  MainThread",
        "    take  /srv/take.py:12",
        "    main  /srv/␇a.py:3",
        "    3 more of Python and its libraries",
    ]


def _detail() -> Detail:
    return Detail(
        job=pipeline_job(),
        events=(JobEvent(CREATED, "started", "started"),),
        tree=(ProcessView(pid=11, name="gzip", command="gzip -9", stage=2, is_leader=True, where="leader"),),
        stop=GONE,
        environment={"PASSWORD": "s3cret"},
        earlier_runs=(("2", "failed", 12.0),),
    )


def test_show_in_words(fake: FakeDaemon, capsys: Any, monkeypatch: Any) -> None:
    fake.answers[ShowJob] = _detail()
    assert main(["show", "3"]) == 0
    out = capsys.readouterr().out
    for expected in (
        "3 squeeze  running",
        "STAGES",
        "waits to write",
        "PIPES",
        "64K",
        "PROCESSES",
        "EVENTS",
        "EARLIER RUNS",
    ):
        assert expected in out
    assert "s3cret" not in out
    assert "\x1b" not in out
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert main(["show", "3"]) == 0
    coloured = capsys.readouterr().out
    assert "\x1b[" in coloured
    assert len(coloured.splitlines()) == len(out.splitlines())


def test_show_json_is_the_job_and_more(fake: FakeDaemon, capsys: Any) -> None:
    fake.answers[ShowJob] = _detail()
    assert main(["show", "--json", "3"]) == 0
    out = capsys.readouterr().out
    shown = json.loads(out)
    assert (shown["id"], shown["bottleneck"], shown["pipes"][0]["limited_by"]) == ("3", 2, "reader")
    assert shown["created"] == "2026-11-22T13:00:00Z"
    assert shown["events"][0]["kind"] == "started"
    assert "s3cret" not in out


STATUS = DaemonStatus(
    pid=77,
    version="0.1.0",
    socket="/h/socket",
    home="/h",
    started=datetime(2026, 11, 22, tzinfo=UTC),
    jobs={"running": 2},
    cpu_percent=0.1,
    memory_bytes=30 << 20,
)


def test_daemon_status_names_leftovers_and_an_unknown_share(fake: FakeDaemon, capsys: Any) -> None:
    fake.answers[AskStatus] = structs.replace(STATUS, cpu_percent=None, leftovers={"13": 2, "15": 1})
    assert main(["daemon", "status"]) == 0
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert rows["cpu"] == "-"
    assert rows["leftovers"] == "3 processes of ended jobs 13, 15 live on: corral stop 13 15"


def test_daemon_stop_names_what_it_leaves(fake: FakeDaemon, capsys: Any) -> None:
    fake.answers[Shutdown] = Stops(())
    fake.answers[ListJobs] = Jobs((), leftovers={"13": 1})
    assert main(["daemon", "stop"]) == 0
    assert capsys.readouterr().out == "1 process of ended job 13 lives on: corral stop 13\n"
    fake.answers[ListJobs] = Jobs((make_job(7, name="build"), make_job(8)))
    assert main(["daemon", "stop", "--jobs", "leave"]) == 0
    told = "2 jobs are left unwatched: 7 build, 8 sleep; corral ps starts a daemon that takes them over\n"
    assert capsys.readouterr().out == told
    assert main(["daemon", "stop", "--jobs", "leave", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_a_time_limit_and_one_leftover_in_show(fake: FakeDaemon, capsys: Any) -> None:
    job = ended_job(7, state="timed_out", exit_status=124, reason="0.2s", leftovers=1)
    fake.answers[ShowJob] = Detail(job=job)
    assert main(["show", "7"]) == 0
    out = capsys.readouterr().out
    assert "after 0.2s, exit status 124" in out
    assert "1 process lives on; corral stop 7 ends it" in out
    assert main(["show", "7", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["reason"] == "0.2s"


def test_an_unknown_share_of_a_core_has_no_unit(fake: FakeDaemon, capsys: Any) -> None:
    fake.answers[ShowJob] = Detail(job=make_job(7, cpu_percent=None, cpu_seconds=1.25))
    assert main(["show", "7"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  usage")]
    assert "cpu 1.2 s, memory" in line


def test_daemon_status(fake: FakeDaemon, capsys: Any) -> None:
    fake.answers[AskStatus] = STATUS
    assert main(["daemon", "status"]) == 0
    assert "2 running" in capsys.readouterr().out
    assert main(["daemon", "status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pid"] == 77


def test_daemon_stop_with_jobs_names_both_ways(fake: FakeDaemon, capsys: Any) -> None:
    fake.answers[ListJobs] = Jobs((make_job(7, name="build"),))
    assert main(["daemon", "stop"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "7 build" in line
    assert "--jobs stop" in line
    assert "--jobs leave" in line
    fake.answers[Shutdown] = Stops((GONE,))
    assert main(["daemon", "stop", "--jobs", "stop"]) == 0
    assert fake.asked[-1] == Shutdown(jobs="stop")
    fake.answers[Shutdown] = Stops((LEFT,))
    assert main(["daemon", "stop", "--jobs", "stop"]) == 1


def test_the_dashboard_needs_a_terminal(fake: FakeDaemon, capsys: Any) -> None:
    assert main([]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "needs a terminal" in line
    assert "corral ps" in line
