from __future__ import annotations

import os
import shutil
import signal
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from corral.commandline.program_name import program_name
from corral.diagnosis import slowest_stage, wait_chains
from corral.diagnosis.diagnose import diagnose
from corral.diagnosis.wait_chains import Observations, WaitGraph
from corral.model.job import Job, Pipe, Stage, StageTime, Stopping
from corral.platform.files.pipes import inode_of
from corral.platform.host.procfs import HAS_PROCFS
from corral.waits.holders import WaitHolders
from corral.waits.process_wait import ProcessWait, wait_of
from until import python, running, until


def is_benign(running: Job, looked: Observations) -> bool | None:
    return wait_chains.is_benign(WaitGraph(running, looked))


NOW = datetime(2026, 1, 1, tzinfo=UTC)
INPUT = 900
PIPES = {101: 1, 102: 2, 103: 3}


def job(*commands: str, **values: object) -> Job:
    """A running job whose stage n has the pid 10 n."""
    stages = tuple(
        Stage(
            number=n,
            name=program_name(command.split()),
            argv=tuple(command.split()),
            pid=10 * n,
            state="running",
        )
        for n, command in enumerate(commands, 1)
    )
    pipes = tuple(Pipe(number=n, from_stage=n, to_stage=n + 1, fill_bytes=0) for n in range(1, len(commands)))
    made = Job(id="5", name=None, command=" | ".join(commands), cwd="/", state="running", created=NOW)
    return structs.replace(made, **{"stages": stages, "pipes": pipes, **values})


def wait(pid: int, name: str, kind: str, detail: str = "", **more: object) -> ProcessWait:
    state = {"running": "R", "suspended": "T", "disk": "D"}.get(kind, "S")
    return ProcessWait(pid, name, state, kind, detail or f"waits for a {kind}", **more)  # type: ignore[arg-type]


def reads(pid: int, name: str, pipe: int) -> ProcessWait:
    return wait(pid, name, "pipe_read", "waits to read from a pipe (fd 0)", fd=0, pipe=pipe)


def writes(pid: int, name: str, pipe: int) -> ProcessWait:
    return wait(pid, name, "pipe_write", "waits to write to a pipe (fd 1)", fd=1, pipe=pipe)


def seen(*waits: ProcessWait, **more: object) -> Observations:
    return Observations(waits, pipes=PIPES, input_pipe=INPUT, **more)  # type: ignore[arg-type]


def test_sleep_waits_for_a_timer():
    looked = seen(wait(10, "sleep", "timer"))
    diagnosis = diagnose(job("sleep 60"), looked)
    assert diagnosis.summary == "sleep waits for a timer"
    assert diagnosis.root is not None
    assert (diagnosis.root.stage, diagnosis.root.pid, diagnosis.root.kind) == (1, 10, "timer")
    assert diagnosis.advice == ()
    assert is_benign(job("sleep 60"), looked) is True


def test_reader_of_an_interactive_input_waits_for_a_person():
    asking, looked = job("cat", stdin="interactive", health="stuck"), seen(reads(10, "cat", INPUT))
    diagnosis = diagnose(asking, looked)
    assert diagnosis.summary == "cat waits for input; only `corral send 5` gives it some"
    assert "corral send 5 TEXT" in [advice.command for advice in diagnosis.advice]
    assert "corral stop 5" in [advice.command for advice in diagnosis.advice]
    assert is_benign(asking, looked) is False


def test_the_input_explains_the_stages_after_it():
    asking = job("cat", "sort", stdin="interactive", health="stuck")
    diagnosis = diagnose(asking, seen(reads(10, "cat", INPUT), reads(20, "sort", 101)))
    assert diagnosis.summary == "cat waits for input; only `corral send 5` gives it some"
    last = diagnosis.waits[1]
    assert (last.stage, last.on_stage, last.on_pid) == (2, 1, 10)
    assert last.detail == "waits to read from pipe 1, which is empty"


def test_reader_of_another_jobs_output_names_it():
    fed, looked = job("sort", stdin="job", from_="3"), seen(reads(10, "sort", INPUT))
    diagnosis = diagnose(fed, looked)
    assert diagnosis.summary == "sort waits for the output of job 3"
    assert is_benign(fed, looked) is True


def spends(made: Job, *shares: tuple[float, float, float]) -> Job:
    """With what its stages spend their time on: run, input, output."""
    times = [StageTime(run=r, input=i, output=o, other=round(1 - r - i - o, 2)) for r, i, o in shares]
    stages = [structs.replace(stage, time=time) for stage, time in zip(made.stages, times, strict=True)]
    return structs.replace(made, stages=tuple(stages))


def test_bottleneck_is_named_with_its_evidence():
    piped = job("pg_dump shop", "gzip -9", "ssh vault cat", bottleneck=2, health="active")
    piped = spends(piped, (0.1, 0, 0.9), (0.97, 0.03, 0), (0, 1, 0))
    looked = seen(writes(10, "pg_dump", 101), wait(20, "gzip", "running", "runs"), reads(30, "ssh", 102))
    diagnosis = diagnose(piped, looked)
    assert diagnosis.summary == "gzip -9 holds up the rest: it runs 97 % of the time"
    assert diagnosis.bottleneck == 2
    assert [w.on_stage for w in diagnosis.waits] == [2, None, 2]
    assert diagnosis.root is not None
    assert diagnosis.root.stage == 2


@pytest.mark.parametrize(
    ("shares", "does"),
    [
        ((0.01, 0, 0), "waits for a timer, 99 % of the time"),
        ((0.6, 0, 0.1), "runs 60 % of the time"),
        ((0.2, 0, 0.5), "runs 20 % of the time and waits 30 % for something else than its pipes"),
    ],
)
def test_bottleneck_that_waits(shares: tuple[float, float, float], does: str):
    piped = spends(job("sleep 60", "cat", bottleneck=1), shares, (0, 1, 0))
    diagnosis = diagnose(piped, seen(wait(10, "sleep", "timer"), reads(20, "cat", 101)))
    assert diagnosis.summary == f"sleep 60 holds up the rest: it {does}"


def test_bottleneck_behind_a_wrapper_is_named_as_what_it_starts():
    looked = seen(wait(10, "gzip", "running", "runs"), reads(20, "cat", 101))
    piped = spends(job("nice -n 19 gzip -9", "cat", bottleneck=1), (1, 0, 0), (0, 1, 0))
    assert diagnose(piped, looked).summary == "gzip -9 holds up the rest: it runs 100 % of the time"


def test_bottleneck_whose_wrapper_stays_is_named_as_what_it_starts():
    looked = seen(
        wait(10, "timeout", "child"), wait(11, "sleep", "timer"), reads(20, "cat", 101), parents={11: 10}
    )
    piped = spends(job("timeout 9 sleep 8", "cat", bottleneck=1), (0, 0, 0), (0, 1, 0))
    assert diagnose(piped, looked).summary == (
        "sleep 8 holds up the rest: it waits for a timer, 100 % of the time"
    )


def test_stages_of_one_name_are_told_apart_by_their_number():
    looked = seen(wait(10, "gzip", "running", "runs"), reads(20, "gzip", 101))
    piped = spends(job("gzip -9", "gzip -1", bottleneck=1), (1, 0, 0), (0, 1, 0))
    assert diagnose(piped, looked).summary == (
        "gzip -9 (stage 1) holds up the rest: it runs 100 % of the time"
    )


def test_bottleneck_that_waits_for_its_child():
    piped = spends(job("./it -c x", "cat", bottleneck=1), (0, 0, 0), (0, 1, 0))
    looked = seen(
        wait(10, "it", "child"),
        wait(11, "sleep", "timer"),
        reads(20, "cat", 101),
        parents={11: 10, 10: 1, 20: 1},
    )
    assert diagnose(piped, looked).summary == (
        "it -c x holds up the rest: it waits for sleep, which waits for a timer, 100 % of the time"
    )


def test_where_no_stage_is_ahead_the_two_that_are_nearest_are_named():
    piped = job("tar c x", "gzip -1", "wc -c", health="active")
    looked = seen(wait(10, "tar", "running"), wait(20, "gzip", "running"), reads(30, "wc", 102))
    diagnosis = diagnose(spends(piped, (0.5, 0, 0.5), (0.55, 0.4, 0.05), (0, 1, 0)), looked)
    assert diagnosis.summary == "no stage holds up the rest: gzip -1 and tar c x wait least for the others"
    idle = spends(piped, (0, 1, 0), (0, 1, 0), (0, 1, 0))
    reading = seen(reads(10, "tar", INPUT), reads(20, "gzip", 101), reads(30, "wc", 102))
    assert "no stage" not in diagnose(idle, reading).summary


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core is all cores")
@pytest.mark.parametrize(
    ("command", "helps"),
    [
        ("gzip -9", "pigz -9"),
        ("gzip -d", None),
        ("xz", "xz -T0"),
        ("xz -T4", None),
        ("dd bs=512 if=x", "dd bs=1M if=x"),
        ("dd", "dd bs=1M"),
        ("dd bs=1M", None),
        ("sort", None),
    ],
)
def test_what_would_make_a_busy_stage_faster(tmp_path: Path, command: str, helps: str | None):
    for name in ("busy", "pigz", "xz"):
        shutil.copy(shutil.which("sleep") or "", tmp_path / name)
    with running(str(tmp_path / "busy"), "60") as process:
        until(lambda: os.readlink(f"/proc/{process.pid}/exe").endswith("busy"), "it to run")
        piped = spends(job("cat", command, bottleneck=2), (0.1, 0, 0.9), (0.97, 0.03, 0))
        stages = (piped.stages[0], structs.replace(piped.stages[1], pid=process.pid))
        found = slowest_stage.advice(structs.replace(piped, stages=stages))
        assert [each.command for each in found] == ([helps] if helps else [])
        waiting = spends(structs.replace(piped, stages=stages), (0.1, 0, 0.9), (0.5, 0.1, 0))
        assert slowest_stage.advice(waiting) == ()


def test_chain_through_pipes_to_the_root():
    piped = job("tar x", "sort", "uniq")
    looked = seen(wait(10, "tar", "timer"), reads(20, "sort", 101), reads(30, "uniq", 102))
    assert diagnose(piped, looked).summary == "tar waits for a timer; the 2 others wait for it"
    assert is_benign(piped, looked) is True


def test_child_is_what_its_parent_does():
    shell = job("sh -c x")
    looked = seen(wait(10, "sh", "child"), wait(12, "sleep", "timer"), parents={12: 10})
    assert diagnose(shell, looked).summary == "sleep waits for a timer"
    assert is_benign(shell, looked) is True
    looked = seen(wait(10, "sh", "child", on_pid=13), wait(12, "sleep", "timer"), parents={12: 10})
    assert is_benign(shell, looked) is None


def test_of_several_children_the_one_that_moves_counts():
    looked = seen(
        wait(10, "sh", "child"),
        wait(12, "a", "unknown", "waits for a file lock (flock)"),
        wait(13, "b", "running", "runs"),
        parents={12: 10, 13: 10},
    )
    assert diagnose(job("sh -c x"), looked).summary == "b is busy"


def test_suspended_process_can_be_resumed():
    halted, looked = (
        job("gzip", health="stuck"),
        seen(wait(10, "gzip", "suspended", "is suspended (state T)")),
    )
    diagnosis = diagnose(halted, looked)
    assert diagnosis.summary == "gzip was stopped by a signal; `corral resume 5` lets it go on"
    assert "corral resume 5" in [advice.command for advice in diagnosis.advice]
    assert is_benign(halted, looked) is False


def test_unknown_wait_is_named_and_not_judged():
    looked = seen(
        wait(10, "curl", "unknown", "watches 1 descriptor without a time limit (poll)", call="poll")
    )
    diagnosis = diagnose(job("curl"), looked)
    assert diagnosis.summary == "curl watches 1 descriptor without a time limit"
    assert diagnosis.not_looked_at
    assert is_benign(job("curl"), looked) is None


@pytest.mark.parametrize(
    ("one", "sentence"),
    [
        (
            wait(10, "cat", "pipe_read", "waits for somebody to write to the FIFO /a (openat) (openat)", call="openat"),
            "cat waits for somebody to write to the FIFO /a (openat)",
        ),
        (wait(10, "x", "futex", "has 2 threads that wait for each other's locks (futex)"),
         "x has 2 threads that wait for each other's locks"),
        (wait(10, "x", "socket_accept", "waits for clients (accept4, fd 3)", fd=3, call="accept4"),
         "x waits for clients"),
    ],
)  # fmt: skip
def test_the_sentence_leaves_the_calls_and_descriptors_to_the_evidence(one: ProcessWait, sentence: str):
    diagnosis = diagnose(job(one.name), seen(one))
    assert diagnosis.summary == sentence
    assert diagnosis.waits[0].detail == one.detail


def test_the_sentence_names_who_holds_a_lock_once_and_of_which_job():
    detail = "waits for the lock on /x (flock), which 9 (y) (flock), which 77 (flock) holds"
    looked = seen(
        wait(10, "flock", "file_lock", "waits for a file lock (flock)", call="flock"),
        holders={10: WaitHolders((77,), detail, True)},
        outside=(wait(77, "flock", "timer", "waits for a timer"),),
        jobs={77: "3"},
    )
    diagnosis = diagnose(structs.replace(job("flock"), health="stuck"), looked)
    assert diagnosis.summary == (
        "flock waits for the lock on /x (flock), which 9 (y), which flock (77, of job 3) holds; "
        "that one waits for a timer"
    )


def test_reason_of_what_could_not_be_read_is_passed_on():
    looked = seen(wait(10, "x", "unknown", "sleeps", reason="/proc/10/syscall may not be read"))
    assert "x (10): /proc/10/syscall may not be read" in diagnose(job("x"), looked).not_looked_at


def test_writer_that_has_ended_leaves_its_reader_alone():
    piped, looked = job("seq 3", "cat"), seen(reads(20, "cat", 101))
    assert diagnose(piped, looked).summary == (
        "cat waits to read from pipe 1, which is empty; no process of stage 1 was found"
    )
    assert is_benign(piped, looked) is None
    left = seen(reads(20, "cat", 101), wait(77, "left", "timer"), stages={77: 1})
    assert diagnose(piped, left).summary == "left waits for a timer; cat waits for it"


def test_ring_of_waits_is_found():
    piped, looked = job("a", "b"), seen(reads(10, "a", 102), writes(20, "b", 101))
    web = WaitGraph(piped, Observations(looked.waits, pipes={102: 2, 101: 1}))
    assert web.chain(20).cycle == ()
    ring = Observations((wait(10, "a", "child", on_pid=20), reads(20, "b", 101)), pipes=PIPES)
    diagnosis = diagnose(piped, ring)
    assert diagnosis.summary == (
        "a and b wait for each other: a waits for a child; b waits to read from pipe 1, which is empty"
    )
    assert diagnosis.cycle == (10, 20)
    assert is_benign(piped, ring) is False


@pytest.mark.parametrize(
    ("values", "summary"),
    [
        ({"state": "queued", "waiting_for": "job 3 to end well"}, "queued: waits for job 3 to end well"),
        ({"state": "queued"}, "queued: waits for its turn"),
        ({"state": "succeeded"}, "it succeeded"),
        (
            {"state": "failed", "reason": "stage 2 (gzip) exited with 1"},
            "it failed: stage 2 (gzip) exited with 1",
        ),
        ({"state": "timed_out", "reason": "5m"}, "it ran into its time limit: 5m"),
        ({"state": "succeeded", "leftovers": 2}, "it succeeded; 2 processes of it are still alive"),
        ({"state": "paused"}, "paused; `corral resume 5` lets it go on"),
        (
            {
                "state": "stopping",
                "stopping": Stopping(since=NOW, signal="TERM", total=9, left=3, kill_at=None),
            },
            "it is being stopped: TERM was sent, 3 of 9 processes are left",
        ),
        ({}, "nothing is known of its processes"),
    ],
)
def test_job_in_every_state_has_a_diagnosis(values, summary):
    assert diagnose(job("x", **values)).summary == summary


@pytest.mark.parametrize(
    ("printed", "commands"),
    [
        ({}, ["corral restart 5"]),
        ({"stdout_bytes": 1}, ["corral logs 5", "corral restart 5"]),
        ({"stderr_bytes": 1}, ["corral logs 5", "corral restart 5"]),
    ],
)
def test_a_failed_job_is_sent_to_its_output_where_there_is_any(printed, commands):
    advice = diagnose(job("x", state="failed", **printed)).advice
    assert [each.command for each in advice] == commands


def test_names_that_a_child_chose_cannot_harm_a_screen():
    hostile = wait(10, "\x1b[2J[/]x\n", "timer")
    diagnosis = diagnose(job("\x1b]0;t\x07x"), seen(hostile))
    assert "\x1b" not in diagnosis.summary + diagnosis.waits[0].name


KINDS = st.sampled_from(
    ["running", "timer", "child", "pipe_read", "pipe_write", "suspended", "unknown", "disk", "zombie"]
)


@given(
    st.lists(
        st.tuples(KINDS, st.sampled_from([None, 101, 102, 103, INPUT]), st.none() | st.integers(1, 6)),
        max_size=6,
    ),
    st.sampled_from(["none", "interactive", "job", "descriptor"]),
    st.sampled_from([None, "active", "waiting", "stuck"]),
    st.none() | st.integers(1, 4),
    st.dictionaries(st.integers(1, 6).map(lambda n: 10 * n), st.integers(1, 6).map(lambda n: 10 * n)),
)
def test_any_tangle_has_one_sentence(tangle, stdin, health, bottleneck, parents):
    waits = [
        wait(10 * n, f"p{n}", kind, pipe=pipe, on_pid=None if on is None else 10 * on)
        for n, (kind, pipe, on) in enumerate(tangle, 1)
    ]
    looked = seen(*waits, parents=parents)
    tangled = job("a", "b", "c", "d", stdin=stdin, health=health, bottleneck=bottleneck, from_="3")
    diagnosis = diagnose(tangled, looked)
    assert diagnosis.summary
    assert "\n" not in diagnosis.summary
    assert len(diagnosis.waits) == len(waits)
    assert is_benign(tangled, looked) in (True, False, None)
    if diagnosis.cycle:
        assert len(diagnosis.cycle) >= 1


@pytest.mark.skipif(not HAS_PROCFS, reason="waits are read from /proc")
def test_real_pipeline_whose_first_stage_is_suspended():
    feed_reader, feed = os.pipe()
    reader, writer = os.pipe()
    pipe, stdin = inode_of(reader), inode_of(feed)
    with (
        running("cat", stdin=feed_reader, stdout=writer) as first,
        running("cat", stdin=reader, stdout=subprocess.DEVNULL) as second,
    ):
        for end in (feed_reader, reader, writer):
            os.close(end)
        pids = (first.pid, second.pid)
        stages = tuple(
            Stage(number=n, name="cat", argv=("cat",), pid=p, state="running") for n, p in enumerate(pids, 1)
        )
        real = job("cat", "cat", stages=stages, stdin="interactive")

        def look() -> Observations:
            return Observations(
                tuple(w for p in pids if (w := wait_of(p))), pipes={pipe: 1}, input_pipe=stdin
            )

        until(lambda: is_benign(real, look()) is False, "both to wait for the input")
        assert diagnose(real, look()).summary == (
            "cat (stage 1) waits for input; only `corral send 5` gives it some"
        )
        first.send_signal(signal.SIGSTOP)
        until(
            lambda: "stopped by a signal" in diagnose(real, look()).summary, "the first stage to be suspended"
        )
        root = diagnose(real, look()).root
        assert root is not None
        assert (root.stage, root.kind) == (1, "suspended")
        os.close(feed)


@pytest.mark.skipif(not HAS_PROCFS, reason="waits are read from /proc")
def test_real_shell_whose_child_reads_the_input():
    code = "import subprocess; subprocess.run(['cat'])"
    with running(*python(code), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        pipe = inode_of(process.stdin.fileno())
        stage = Stage(number=1, name="python", argv=("python",), pid=process.pid, state="running")
        real = job("python", stages=(stage,), stdin="interactive")

        def look() -> Observations:
            parent = wait_of(process.pid)
            assert parent is not None
            child = wait_of(parent.on_pid) if parent.on_pid else None
            waits = (parent,) if child is None else (parent, child)
            return Observations(waits, input_pipe=pipe, parents={w.pid: process.pid for w in waits[1:]})

        until(lambda: "input" in diagnose(real, look()).summary, "the child to wait for input")
        assert diagnose(real, look()).summary == "cat waits for input; only `corral send 5` gives it some"
