"""Stuck jobs that are ended by themselves, and what can be read of them in the morning."""

from __future__ import annotations

import json
import os
from pathlib import Path

from corral.model.job import Job
from corral.platform.inspect import py_spy
from corral.protocol import requests as p
from e2e.command import Corral
from e2e.daemons import Daemons, job, start, wait
from until import until

READS_ITS_OWN_PIPE = """
import os, signal, sqlite3, sys
journal = os.path.join(os.environ["CORRAL_HOME"], "corral.db")
def end(*_):
    reader, job = sqlite3.connect(f"file:{journal}?mode=ro", uri=True), os.environ["CORRAL_JOB_ID"]
    (kept,) = reader.execute("SELECT count(*) FROM stories WHERE job = ?", (job,)).fetchone()
    print("stories at the first signal:", kept, flush=True)
    sys.exit(3)
signal.signal(signal.SIGTERM, end)
read, write = os.pipe()
os.read(read, 1)
"""


def test_what_was_ended_at_night_is_explained_in_the_morning(corral: Corral, tmp_path: Path) -> None:
    program = tmp_path / "own_pipe.py"
    program.write_text(READS_ITS_OWN_PIPE)
    corral.ok("run", "-n", "ask", "-i", "--on-stuck", "stop", "--stuck-after", "1s", "cat")
    corral.ok("run", "-n", "held", "-i", "--on-stuck", "stop", "--stuck-after", "1s", "cat")
    corral.ok("pause", "held")
    corral.ok("run", "-n", "short", "true | cat")
    ring = corral("run", "--wait", "--on-stuck", "stop", "python3", str(program))
    assert (ring.returncode, ring.stdout) == (3, "stories at the first signal: 1\n")
    if py_spy.beside_interpreter() is not None:
        (stack,) = json.loads(corral.ok("show", "--json", "@"))["story"]["diagnosis"]["stacks"]
        assert stack["frames"][0]["line"] == len(READS_ITS_OWN_PIPE.splitlines())
        assert f"{program.name}:{stack['frames'][0]['line']}" in corral.ok("why", "@")
    assert corral("wait", "ask").returncode == 143
    held = json.loads(corral.ok("show", "--json", "held"))
    assert (held["state"], held["on_stuck"], held["story"]["diagnosis"]) == ("paused", "stop", None)
    corral.ok("stop", "held")
    corral.ok("daemon", "stop")

    shown = json.loads(corral.ok("show", "--json", "ask"))
    assert (shown["state"], shown["signal"]) == ("stopped", "TERM")
    assert shown["reason"].startswith("stuck: cat waits for input")
    story = shown["story"]
    assert (story["diagnosis"]["health"], story["diagnosis"]["root"]["kind"]) == ("stuck", "pipe_read")
    assert max(story["life"]["memory"]) <= shown["peak_memory_bytes"]
    short = json.loads(corral.ok("show", "--json", "short"))
    assert short["pipes"][0]["bytes_total"] == 0
    assert short["story"]["diagnosis"] is None

    why = json.loads(corral.ok("why", "--json", "ask"))
    assert (why["health"], why["waits"], why["ended"]) == (None, [], shown["ended"])
    assert why["kept"]["waits"][0]["detail"] == "waits for input"
    assert why["kept"]["taken"] == story["diagnosed"] <= why["ended"]
    told = corral.ok("why", "ask").splitlines()
    assert told[0].startswith("1: it was ended because it was stuck: cat waits for input")
    assert told[2].startswith("It ended ")
    assert "; when it was last stuck, at " in told[2]
    assert {"EVIDENCE THEN", "ROOT THEN"} <= set(told)
    page = corral.ok("show", "ask", env={"LC_ALL": "C"})
    assert "LAST STUCK, " in page
    assert "stuck after 1s, and then stopped" in page
    corral.ok("run", "-q", "true")
    corral.ok("rm", "ask")
    assert corral("why", "ask").returncode == 1


def test_a_job_adopted_after_a_crash_is_ended_when_it_is_stuck(daemons: Daemons) -> None:
    """Suspended: what every kernel shows to everybody, whoever its parent is."""
    with daemons.client() as client:
        (one,) = start(client, "sh -c 'kill -STOP $$'", on_stuck="stop", stuck_after=2.0)
        until(lambda: _seen(client.call(p.ListProcesses(job=one)).processes), "it to suspend itself")
    daemons.signal()
    with daemons.client() as client:
        ended: Job = wait(client, one)[0]
        assert (ended.state, ended.reason and ended.reason.partition(":")[0]) == ("stopped", "stuck")
        story = client.call(p.AskStory(job=one))
        assert story.diagnosis is not None
        assert story.diagnosis.health == "stuck"
        assert story.diagnosis.root is not None
        assert story.diagnosis.root.kind == "suspended"


def test_no_job_is_ended_at_whose_terminal_somebody_sits(daemons: Daemons) -> None:
    with daemons.client() as client, daemons.client() as person:
        attended, alone = start(client, "cat", "cat", pty=True, on_stuck="stop", stuck_after=1.0)
        until(lambda: client.call(p.ListProcesses(job=attended)).processes, "it to start")
        opened = person.call(p.OpenInput(job=attended))
        assert opened.is_terminal
        person.begin(p.WaitForJobs(ids=(attended,)))
        assert wait(client, alone)[0].state == "stopped"
        until(lambda: job(client, attended).health == "stuck", "it to be stuck")
        assert job(client, attended).state == "running"
        for descriptor in person.received_descriptors():
            os.close(descriptor)
        person.close()
        assert wait(client, attended)[0].state == "stopped"


def _seen(processes: object) -> bool:
    return any(each.state == "T" for each in processes)  # type: ignore[attr-defined]
