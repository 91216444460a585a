"""`corral daemon restart` puts another program in the daemon's place, in the same process, and loses nothing."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import sys
from collections import Counter
from pathlib import Path

import pytest

import corral as library
from corral.client import restart_daemon
from corral.client.blocking import Client
from corral.client.environment import surroundings
from corral.client.restart_daemon import restart
from corral.engine.handover import FORMAT
from corral.jobs.acceptance import KEPT_WHOLE
from corral.journal.tables import VERSION
from corral.model.errors import CorralError, DaemonUnavailableError, NotSoError
from corral.model.spec import DescriptorInput, InteractiveInput, JobInput
from corral.platform.process.identity import identify
from corral.protocol import requests as p
from e2e.command import Corral
from e2e.daemons import Daemons, job, spec, start, stdout, wait
from managers import marked, python, zoo_argv
from until import until

MEGABYTES = 20


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """That this Python can load the daemon is known here."""
    monkeypatch.setattr(restart_daemon, "check_own_program", lambda: None)


def kinds_of_descriptors(pid: int) -> Counter[str]:
    """What a process has open, by name; of sockets, pipes and the like only the kind."""
    found: Counter[str] = Counter()
    for number in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found[os.readlink(f"/proc/{pid}/fd/{number}").split("[")[0]] += 1
    return found


def start_reading(client: Client, command: str, descriptor: int, **fields: object) -> str:
    """A job that reads a descriptor of ours."""
    request = p.StartJobs(
        specs=(spec(command, stdin=DescriptorInput(), **fields),), surroundings=surroundings()
    )
    return client.call(request, (descriptor,)).ids[0]


def is_open_for_writing(reader: int) -> bool:
    """Whether a FIFO whose other end is open here, and not blocking, has a writer (fifo(7))."""
    try:
        return os.read(reader, 1) != b""
    except BlockingIOError:
        return True


def send(client: Client, job_id: str, data: bytes) -> None:
    client.call(p.OpenInput(job=job_id))
    (writer,) = client.received_descriptors()
    os.write(writer, data)
    os.close(writer)


@pytest.mark.usefixtures("unchecked")
def test_nothing_is_lost(daemons: Daemons, tmp_path: Path) -> None:
    go, late, hold, read = fifos = [tmp_path / name for name in ("go", "late", "hold", "read")]
    for fifo in fifos:
        os.mkfifo(fifo)
    reader = os.open(read, os.O_RDONLY | os.O_NONBLOCK)
    (tmp_path / "input").write_bytes(b"of the queued job\n")
    queued_input = os.open(tmp_path / "input", os.O_RDONLY)
    flood = f"head -c {MEGABYTES << 20} /dev/zero | tr '\\0' x"
    with daemons.client() as client:
        (exits,) = start(client, ["sh", "-c", f"cat {go}; exit 7"])
        (source,) = start(client, flood)
        (follower,) = start(client, ["sh", "-c", f"cat {hold}; sha256sum"], stdin=JobInput(source))
        (talker,) = start(client, "cat", stdin=InteractiveInput())
        (paused,) = start(client, "sleep 60", timeout=50.0)
        client.call(p.PauseJobs(ids=(paused,)))
        (limited,) = start(client, "sleep 60", timeout=1.0)
        (opens,) = start(client, f"cat 2> {read} < {late}")
        until(lambda: is_open_for_writing(reader), "one of its files to be open")
        (queued,) = start(client, "cat", after=(exits,))
        reads = start_reading(client, "cat", queued_input, after=(follower,))
        (left,) = start(client, ["sh", "-c", "sleep 60 & exit 0"])
        (stubborn,) = start(client, zoo_argv("ignores_term"))
        until(lambda: stdout(daemons, stubborn), "it to ignore TERM")
        until(lambda: job(client, left).leftovers, "the leftovers to be seen")
        client.call(p.StopJobs(ids=(stubborn,), grace=0.9, wait=False))
        until(lambda: (stop := job(client, stubborn).stopping) and stop.signal == "TERM", "TERM to be sent")
        send(client, talker, b"before\n")
        everything = (exits, source, follower, talker, paused, opens, queued, reads, left, stubborn)
        before = {each: job(client, each) for each in everything}
        pid, began = client.hello.pid, identify(client.hello.pid)
    os.close(queued_input)

    for generation in (2, 3):
        hello = restart(daemons.home)
        assert (hello.pid, hello.generation, identify(pid)) == (pid, generation, began)
        assert not os.path.exists(daemons.home.handover)

    with daemons.client() as client:
        after = {each: job(client, each) for each in everything}
        for each in (exits, talker, paused, opens, queued, reads, left):
            assert after[each].state == before[each].state, after[each]
            assert after[each].stages[0].pid == before[each].stages[0].pid
        assert after[paused].paused_since == before[paused].paused_since
        assert after[left].leftovers == 1
        send(client, talker, b"after\n")
        client.call(p.CloseInput(job=talker))
        # The other one was not: whoever reads the first has not seen it closed meanwhile.
        assert is_open_for_writing(reader)
        for fifo in (go, late, hold):
            with open(fifo, "wb") as file:
                file.write(b"" if fifo == hold else b"opened\n")
        ended = wait(client, exits, source, follower, talker, opens, stubborn, limited)
        assert [(each.state, each.exit_status) for each in ended] == [
            ("failed", 7),
            *[("succeeded", 0)] * 4,
            ("stopped", 137),
            ("timed_out", 124),
        ]
        assert ended[0].cpu_seconds is not None
        expected = hashlib.sha256(b"x" * (MEGABYTES << 20)).hexdigest().encode()
        assert stdout(daemons, follower).split()[0] == expected
        assert stdout(daemons, talker) == b"before\nafter\n"
        assert stdout(daemons, opens) == b"opened\n"
        until(lambda: not is_open_for_writing(reader), "nobody to hold what only the job had open")
        os.close(reader)
        report = client.call(p.AskStopping(ids=(stubborn,))).reports[0]
        assert [each.signals for each in report.processes] == [("TERM", "KILL")]
        assert report.seconds >= 0.9
        # What the one waited for has failed, what the other waited for has not.
        assert [each.state for each in wait(client, queued, reads)] == ["failed", "succeeded"]
        assert stdout(daemons, reads) == b"of the queued job\n"
        client.call(p.StopJobs(ids=(paused, left), grace=5.0))
        until(lambda: len(marked(daemons.nonce())) == 0, "all to be gone")
        until(lambda: not job(client, left).leftovers, "that to be noted")


@pytest.mark.usefixtures("unchecked")
def test_nothing_leaks_through(daemons: Daemons) -> None:
    with daemons.client() as client:
        talker, _ = start(client, "cat", stdin=InteractiveInput()) + start(client, "sleep 60 | cat")
        pid = client.hello.pid
        # A first look opens the files that it goes on watching.
        client.call(p.ListJobs())
    before = until(
        lambda: (found := kinds_of_descriptors(pid))["socket:"] == 3 and found, "the client to be gone"
    )
    restart(daemons.home)
    restart(daemons.home)
    until(lambda: kinds_of_descriptors(pid) == before, f"the same descriptors as before: {before}")
    with daemons.client() as client:
        send(client, talker, b"still there")
        until(lambda: stdout(daemons, talker) == b"still there", "its stdin to be the same")
        # Nor does a job inherit what the daemon had inherited.
        (nosy,) = start(client, python("import os; print(os.listdir('/proc/self/fd'))"))
        wait(client, nosy)
        assert stdout(daemons, nosy) == b"['0', '1', '2', '3']\n"


def patched(tmp_path: Path, code: str) -> dict[str, str]:
    """Variables with which any Python runs `code` before all else, the program of a restarted daemon too."""
    (tmp_path / "patch").mkdir(exist_ok=True)
    (tmp_path / "patch" / "sitecustomize.py").write_text("import os\nexec(os.environ.get('PATCHED', ''))\n")
    return {"PYTHONPATH": str(tmp_path / "patch"), "PATCHED": code}


@pytest.mark.usefixtures("unchecked")
def test_what_a_later_format_cannot_read_is_adopted(
    daemons: Daemons, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    with daemons.client() as client:
        (exits,) = start(client, ["sh", "-c", f"cat {go}; exit 7"])
        (talker,) = start(client, "cat", stdin=InteractiveInput())
        (queued,) = start(client, "true", after=(talker,))
    for name, value in patched(tmp_path, "import corral.engine.handover as h; h.FORMAT = 0").items():
        monkeypatch.setenv(name, value)
    assert restart(daemons.home).generation == 2
    with daemons.client() as client:
        # Its stdin was not handed over, so that it ends; what is still our child keeps its status.
        assert [each.state for each in wait(client, talker, queued)] == ["succeeded", "succeeded"]
        with open(go, "wb"):
            pass
        assert [(each.state, each.exit_status) for each in wait(client, exits)] == [("failed", 7)]
    log = Path(daemons.home.daemon_log).read_text()
    assert f"has format {FORMAT}, this program reads 0" in log


def test_an_older_program_is_refused_where_a_job_would_lose_its_stdin(corral: Corral, tmp_path: Path) -> None:
    older = patched(tmp_path, "import corral.protocol.protocol_number as n; n.HANDOVER = 1")
    corral.ok("run", "-n", "plain", "sleep", "60")
    corral.ok("run", "-n", "talker", "-i", "cat")
    refused = corral("daemon", "restart", env=older)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert (
        "cannot take over the open stdin or terminal of job 2; the daemon goes on as it was" in refused.stderr
    )
    corral.ok("send", "--eof", "talker", "still open")
    assert corral("wait", "talker").returncode == 0
    assert corral.ok("logs", "talker") == "still open"
    # Nothing of the other can be lost.
    assert "1 job left running" in corral.ok("daemon", "restart", env=older)
    assert "taken over as after a crash" in (corral.home / "daemon.log").read_text()
    assert json.loads(corral.ok("show", "--json", "plain"))["state"] == "running"


@pytest.mark.usefixtures("unchecked")
def test_a_signal_between_the_two_programs_waits(
    daemons: Daemons, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with daemons.client() as client:
        (one,) = start(client, "sleep 60")
    code = "import sys\nif 'resume' in sys.orig_argv: os.kill(os.getpid(), 15)"
    with monkeypatch.context() as patch:
        for name, value in patched(tmp_path, code).items():
            patch.setenv(name, value)
        with contextlib.suppress(CorralError):  # gone again before anybody could greet it, perhaps
            restart(daemons.home)
    # In order: who is killed outright leaves its socket behind.
    until(lambda: not os.path.exists(daemons.home.socket), "the new program to end by SIGTERM")
    until(lambda: not daemons.alive(), "it to be gone")
    with daemons.client() as client:
        assert job(client, one).state == "running"


def ask(client: Client, program: str) -> bytes:
    """Ask for a restart with any program; what it reports."""
    reader, writer = os.pipe()
    try:
        client.call(p.RestartDaemon(program=program, environment={}), (writer,), timeout=20)
    except DaemonUnavailableError:
        os.close(writer)
        return os.read(reader, 100)
    finally:
        os.close(reader)
    raise AssertionError("it was answered")


def set_schema_version(daemons: Daemons, number: int) -> None:
    connection = sqlite3.connect(daemons.home.journal)
    connection.execute(f"PRAGMA user_version = {number}")
    connection.commit()
    connection.close()


def test_where_it_cannot_be_the_daemon_goes_on(
    daemons: Daemons, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_program = tmp_path / "text"
    no_program.write_text("this is no program")
    no_program.chmod(0o755)
    with daemons.client() as client, daemons.client() as other:
        (one,) = start(client, "sleep 60")
        waiting = other.begin(p.WaitForJobs(ids=(one,)))
        # A first look opens the files that it goes on watching.
        client.call(p.ListJobs())
        before = kinds_of_descriptors(client.hello.pid)
        for program in (str(tmp_path / "none"), "relative", str(no_program)):
            with pytest.raises(CorralError, match="the daemon goes on as it was"):
                ask(client, program)
        with monkeypatch.context() as patch:
            for name, value in patched(tmp_path, "os._exit(3)").items():
                patch.setenv(name, value)
            with pytest.raises(CorralError, match="cannot load the daemon"):
                restart(daemons.home)
        set_schema_version(daemons, 999)
        with pytest.raises(CorralError, match=r"newer Corral.*nothing was restarted"):
            restart(daemons.home)
        set_schema_version(daemons, VERSION)
        assert job(client, one).state == "running"
        until(lambda: kinds_of_descriptors(client.hello.pid) == before, "no descriptor to be left")
        assert not os.path.exists(daemons.home.handover)
        client.call(p.StopJobs(ids=(one,), grace=5.0))
        reply = waiting.result(20)
        assert reply is not None
        assert reply.jobs[0].state == "stopped"
        (two,) = start(client, "sleep 60")
        # A program that ends at once: as after a crash.
        assert ask(client, "/bin/false") == b""
    with daemons.client() as client:
        assert job(client, two).state == "running"


def test_another_protocol_number(corral: Corral, tmp_path: Path) -> None:
    other = patched(tmp_path, "import corral.protocol.protocol_number as n; n.PROTOCOL = 7")
    corral.ok("run", "-n", "nap", "sleep", "60")
    for environment, theirs, ours in ((other, 1, 7), ({}, 7, 1)):
        refused = corral("show", "nap", env=environment)
        assert (refused.returncode, refused.stdout) == (125, "")
        assert f"speaks protocol {theirs}, this program {ours}; corral daemon restart" in refused.stderr
        if environment:
            status = corral.ok("daemon", "status", env=environment)
            assert f"{theirs}; this program" in status
            assert f"speaks {ours}" in status
        else:
            status = json.loads(corral.ok("daemon", "status", "--json"))
            assert (status["protocol"], status["home"]) == (theirs, str(corral.home))
        assert "1 job left running" in corral.ok("daemon", "restart", env=environment)
    both_ways = corral("daemon", "stop", env=other)
    assert (both_ways.returncode, both_ways.stdout) == (1, "")
    assert "--jobs stop" in both_ways.stderr
    assert "has ended" in corral.ok("daemon", "stop", "--jobs", "stop", env=other)
    until(lambda: not corral.processes(), "daemon and job to be gone")


def test_without_a_daemon_one_is_started(corral: Corral) -> None:
    assert "daemon started, because none ran: version" in corral.ok("daemon", "restart")
    assert len(corral.processes()) == 1


async def test_a_private_daemon_is_not_replaced() -> None:
    reader, writer = os.pipe()
    async with library.open() as manager:
        with pytest.raises(NotSoError, match="belongs to one program"):
            await manager.session.call(p.RestartDaemon(program=sys.executable), (writer,))
        assert (await manager.run(["echo", "on"])).stdout == b"on\n"
    os.close(writer)
    assert os.read(reader, 1) == b""
    os.close(reader)


@pytest.mark.parametrize("is_crash", [False, True])
def test_a_long_queue_survives_with_what_its_jobs_wait_for(
    is_crash: bool, daemons: Daemons, unchecked: None, tmp_path: Path
) -> None:
    reader, writer = os.pipe()
    os.mkfifo(tmp_path / "gate")
    with daemons.client() as client:
        (gate,) = start(client, ["cat", str(tmp_path / "gate")])
        queued = start(client, *[["true"]] * (KEPT_WHOLE + 20), after=(gate,))
        (last,) = start(client, "echo last", name="last", after=(queued[-1],))
        (also,) = start(client, "echo also", after=(last,))
        fed = start_reading(client, "wc -l", reader, after=(last,))
        if is_crash:
            daemons.signal()
        else:
            restart(daemons.home)
    with daemons.client() as client:
        assert job(client, also).waiting_for == f"job {last} (last) to succeed"
        assert job(client, fed).state == ("failed" if is_crash else "queued")
        os.close(writer)
        (tmp_path / "gate").write_text("")
        assert {each.state for each in wait(client, gate, *queued, last, also)} == {"succeeded"}
        assert stdout(daemons, also) == b"also\n"
        if not is_crash:
            assert (wait(client, fed)[0].state, stdout(daemons, fed)) == ("succeeded", b"0\n")
