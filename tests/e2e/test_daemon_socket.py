"""Whatever comes over the socket costs the daemon at most that one connection."""

from __future__ import annotations

import array
import json
import os
import random
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import forkserver
from corral.client.blocking import Client
from corral.client.environment import surroundings
from corral.model.errors import CannotStartError, CorralError, DaemonUnavailableError, NotSoError
from corral.model.home import Home
from corral.model.wire import from_wire
from corral.platform.process import mark
from corral.protocol import requests as p
from e2e.daemons import Daemons, job, spec, start, wait
from until import until

HELLO = b'{"id":1,"op":"hello","version":"0","protocol":%d,"client":"library"}\n' % p.PROTOCOL


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[Daemons]:
    made = Daemons(tmp_path / "home")
    made.pid()
    yield made
    made.end()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemons]:
    made = Daemons(tmp_path_factory.mktemp("shared") / "home")
    made.pid()
    yield made
    made.end()


def answer(sock: socket.socket) -> dict[str, Any]:
    line = b""
    while not line.endswith(b"\n"):
        piece = sock.recv(1)
        assert piece, "the daemon hung up"
        line += piece
    return dict(json.loads(line))


def greeted(daemons: Daemons) -> socket.socket:
    sock = daemons.raw()
    sock.sendall(HELLO)
    assert answer(sock)["ok"]["protocol"] == p.PROTOCOL
    return sock


SURROUNDINGS = msgspec.to_builtins(surroundings(), str_keys=True)


def start_request(**changes: Any) -> dict[str, Any]:
    one = msgspec.to_builtins(spec("true"))
    return {
        "id": 7,
        "op": "start",
        "specs": [one | changes],
        "surroundings": SURROUNDINGS,
        "wait_started": True,
    }


def with_redirection(**redirection: Any) -> dict[str, Any]:
    return start_request(pipeline={"stages": [{"argv": ["true"], "redirections": [redirection]}]})


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe\x00",
        b'{"id":7}',
        b'{"id":7,"op":"nothing"}',
        b'{"id":"7","op":"list"}',
        b'{"id":7,"op":"list","ids":7}',
        b'{"id":7,"op":"show"}',
        b'{"id":7,"op":"show","job":"' + b"9" * 5000 + b'"}',
        b'{"id":7,"op":"look","ids":["' + b'1","' * 1001 + b'"]}',
        HELLO.replace(b'"id":1', b'"id":7').strip(),
        b'{"id":7,"op":"stop"}',
        b'{"id":7,"op":"open_input","job":"@"}',
        b"[" * 100_000,
        b'{"id":7,"op":"start","specs":[],"surroundings":' + b'{"a":' * 20_000,
        b"x" * (1 << 20) + b"y",
        *(
            json.dumps(request).encode()
            for request in (
                with_redirection(fd=7, mode="write", path="/dev/null"),
                with_redirection(fd=1, mode="write"),
                with_redirection(fd=0, mode="write", path="/dev/null"),
                with_redirection(fd=-1, mode="merge"),
                start_request(pipeline={"stages": []}),
                start_request(pipeline={"stages": [{"argv": []}]}),
                start_request(pipeline={"stages": [{"argv": ["true"]}] * 256}),
                start_request(name="a\x1b[2Jb"),
                start_request(stop_grace=1e300),
                start_request(timeout=-1.0),
                start_request(stop_signal="NOSUCH"),
                start_request(after=["99"]),
                start_request(stdin={"kind": "job", "job": "99"}),
                start_request(stdin={"kind": "descriptor"}),
                start_request() | {"surroundings": SURROUNDINGS | {"umask": 1 << 70}},
                start_request() | {"surroundings": SURROUNDINGS | {"umask": 1 << 40}},
                start_request() | {"surroundings": SURROUNDINGS | {"environment": {"a=b": "c", "": "d"}}},
                start_request() | {"surroundings": SURROUNDINGS | {"cwd": "a\x00b"}},
                start_request(pipeline={"stages": [{"argv": ["true", "a\x00b"]}]}),
                start_request(pipeline={"stages": [{"argv": ["\x00"]}]}),
            )
        ),
    ],
)
def test_a_line_that_is_no_request_is_answered_and_harms_nobody(shared: Daemons, line: bytes) -> None:
    pid = shared.pid()
    with greeted(shared) as sock:
        sock.sendall(line + b"\n")
        assert answer(sock)["error"]["message"]
        sock.sendall(b'{"id":8,"op":"list"}\n')
        assert answer(sock)["id"] == 8
    with shared.client() as client:
        assert wait(client, *start(client, "true"))[0].state == "succeeded"
        assert client.call(p.AskStatus()).jobs == {}
    assert shared.pid() == pid


def test_before_hello_there_is_no_service(shared: Daemons) -> None:
    with shared.raw() as sock:
        sock.sendall(b'{"id":8,"op":"shutdown","jobs":"stop"}\n')
        assert "hello" in answer(sock)["error"]["message"]


def test_random_bytes(shared: Daemons) -> None:
    seeded = random.Random(4)
    pid = shared.pid()

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.binary(max_size=2000), max_size=6))
    def attack(pieces: list[bytes]) -> None:
        with shared.raw() as sock:
            if seeded.random() < 0.5:
                sock.sendall(HELLO)
            try:
                for piece in pieces:
                    sock.sendall(piece)
            except BrokenPipeError:
                return

    attack()
    assert shared.pid() == pid


def test_half_lines_make_whole_ones(shared: Daemons) -> None:
    with shared.raw() as sock:
        for byte in HELLO:
            sock.sendall(bytes([byte]))
        assert answer(sock)["id"] == 1


def test_descriptors_that_nobody_asked_for_are_closed(shared: Daemons) -> None:
    before = shared.open_descriptors()
    null = os.open(os.devnull, os.O_RDONLY)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [null] * 8))]
    too_many = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [null] * 100))]
    try:
        for line in (b'{"id":8,"op":"list"}\n', b"not a request\n", b'{"id":8,"op":"li', b"x" * 50_000):
            for passed in (rights, too_many):
                with greeted(shared) as sock:
                    sock.sendmsg([line], passed)
                    sock.sendmsg([b'\n{"id":9,"op":"list"}\n'], passed)
                    while answer(sock)["id"] != 9:
                        pass
    finally:
        os.close(null)
    until(lambda: shared.open_descriptors() <= before, "the daemon to hold no more descriptors than before")


def test_a_thousand_idle_connections_and_their_end(shared: Daemons) -> None:
    before = shared.open_descriptors()
    room = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, room[1]), room[1]))
    idle = []
    try:
        idle = [shared.raw() for _ in range(1000)]
        with shared.client() as client:
            assert wait(client, *start(client, "true"))[0].state == "succeeded"
    finally:
        for sock in idle:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, room)
    until(lambda: shared.open_descriptors() <= before, "the daemon to have let go of them")


def resident(pid: int) -> int:
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_who_asks_and_never_reads_costs_bounded_memory(daemons: Daemons) -> None:
    pid = daemons.pid()
    with daemons.client() as client:
        wait(client, *start(client, *(["true", "x" * 500] for _ in range(200))))
    before = resident(pid)
    with greeted(daemons) as sock:
        sock.setblocking(False)
        question = b'{"id":8,"op":"list","all":true}\n' * 100
        stalled = sent = 0
        with daemons.client() as client:
            while stalled < 5 and sent < 20_000_000:
                try:
                    sent += sock.send(question)
                    stalled = 0
                except BlockingIOError:
                    stalled += 1
                    # Served like everybody, before the daemon looks at the other one again.
                    client.call(p.AskStatus(), timeout=60)
        assert stalled == 5
        assert resident(pid) - before < 200 << 20


def test_a_subscriber_that_never_reads_costs_bounded_memory(daemons: Daemons) -> None:
    with greeted(daemons) as sock, daemons.client() as client:
        sock.sendall(b'{"id":2,"op":"subscribe"}\n')
        before = resident(daemons.pid())
        for _ in range(5):
            wait(client, *start(client, *(["true", "x" * 2000] for _ in range(100))))
        assert resident(daemons.pid()) - before < 60 << 20
        # It is told the whole once it reads again.
        received = b""
        while b'"id":"500"' not in received:
            received = received[-20:] + sock.recv(1 << 16)


def test_out_of_descriptors_the_daemon_goes_on_and_still_ends_jobs(tmp_path: Path) -> None:
    code = (
        "import resource, sys\nfrom corral.daemon import client_limits\nfrom corral.daemon.main import run_foreground\nfrom corral.model.home import Home\n"
        "client_limits.Clients.make_room = lambda _: None\n"  # Clients may take them all.
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        "sys.exit(run_foreground(Home(sys.argv[1])))"
    )
    daemons = Daemons(tmp_path / "home")
    with forkserver.popen([sys.executable, "-c", code, daemons.home.path], start_new_session=True) as process:
        until(daemons.listens, "it to listen")
        idle: list[socket.socket] = []
        try:
            with Client.connect(daemons.home, start=False) as client:
                own = p.StartJobs(specs=(spec("sleep 60"),), surroundings=_modest())
                (one,) = client.call(own, timeout=30).ids
                until(lambda: job(client, one).state == "running", "the job to run")
                idle = [daemons.raw() for _ in range(80)]
                until(lambda: len(os.listdir(f"/proc/{process.pid}/fd")) == 64, "no descriptor to be left")
                with pytest.raises(CannotStartError) as raised:
                    client.call(p.StartJobs(specs=(spec("true"),), surroundings=_modest(), wait_started=True))
                assert raised.value.status == 125
                report = client.call(p.StopJobs(ids=(one,), grace=5.0), timeout=30).reports[0]
                assert report.nothing_is_left
                assert [each.ended_by for each in report.processes] == ["TERM"]
                assert [found.pid for found in mark.scan(daemons.nonce())] == []
        finally:
            for sock in idle:
                sock.close()
        with Client.connect(daemons.home, start=False) as client:
            request = p.StartJobs(specs=(spec("true"),), surroundings=_modest(), wait_started=True)
            assert wait(client, *client.call(request, timeout=30).ids)[0].state == "succeeded"
            client.call(p.Shutdown(jobs="stop"))
        assert process.wait(30) == 0


def _modest() -> Any:
    """Surroundings without limits: those of this process are above what that daemon may give."""
    return msgspec.structs.replace(surroundings(), limits={})


def test_a_tiny_soft_limit_of_the_client_reaches_its_job(shared: Daemons) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    where = surroundings()
    where = msgspec.structs.replace(where, limits={**where.limits, resource.RLIMIT_NOFILE: (8, hard)})
    with shared.client() as client:
        request = p.StartJobs(specs=(spec(["sh", "-c", "ulimit -n"]),), surroundings=where, wait_started=True)
        (one,) = client.call(request, timeout=30).ids
        assert wait(client, one)[0].state == "succeeded"
    assert Path(shared.home.stdout(one)).read_bytes() == b"8\n"


def test_an_output_folder_removed_by_hand_troubles_its_own_job_only(shared: Daemons) -> None:
    import shutil

    with shared.client() as client:
        one, two = start(client, "sleep 60", ["sh", "-c", "while :; do :; done"])
        until(lambda: job(client, two).state == "running", "both to run")
        shutil.rmtree(shared.home.job(one))
        until(lambda: job(client, two).cpu_percent, "the other to be observed")
        assert client.call(p.StopJobs(all=True, grace=5.0), timeout=30).reports[0].nothing_is_left
        assert client.call(p.RemoveJobs(ids=(one, two))).errors == ()


def test_what_the_client_has_reaches_its_job(daemons: Daemons, tmp_path: Path) -> None:
    """Ignored signals stay with the client; umask, directory, limits, nice and the environment go along."""
    code = (
        "import os, resource, signal, sys\n"
        "from corral.protocol import requests as p\nfrom corral.client.blocking import Client\n"
        "from corral.client.environment import surroundings\nfrom corral.model.home import Home\n"
        "from e2e.daemons import spec\n"
        "for number in (signal.SIGCHLD, signal.SIGHUP, signal.SIGPIPE): signal.signal(number, signal.SIG_IGN)\n"
        "os.umask(0o027); os.chdir(sys.argv[2]); os.nice(3); os.environ['WHO'] = 'client'\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (700, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); resource.setrlimit(resource.RLIMIT_CPU, (1000, 2000))\n"
        "line = 'umask; pwd; echo $WHO; ulimit -n; ulimit -c; ulimit -t; nice; grep SigIgn /proc/self/status; exit 7'\n"
        "with Client.connect(Home(sys.argv[1])) as client:\n"
        "    ids = client.call(p.StartJobs(specs=(spec(['sh', '-c', line]),), surroundings=surroundings())).ids\n"
        "    print(client.call(p.WaitForJobs(ids=ids)).jobs[0].exit_status)\n"
    )
    folder = os.path.realpath(tmp_path)
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(__file__))}
    for home in (daemons.home, Home(str(tmp_path / "its own"))):
        own = Daemons(Path(home.path))
        try:
            done = subprocess.run(
                [sys.executable, "-c", code, home.path, folder],
                capture_output=True,
                text=True,
                check=True,
                env=environment,
                timeout=60,
            )
            assert done.stdout == "7\n"
            said = Path(home.stdout(1)).read_text().split("\n")
            base = os.getpriority(os.PRIO_PROCESS, 0)
            assert said[:7] == ["0027", folder, "client", "700", "0", "1000", str(base + 3)]
            # 32 and 33 are the C library's own (nptl(7)): nobody can set them.
            assert int(said[7].split()[1], 16) & 0x7FFFFFFF == 0
        finally:
            if own.home != daemons.home:
                own.pid()
                own.end()


def test_a_newer_journal_is_left_alone(tmp_path: Path) -> None:
    import sqlite3

    daemons = Daemons(tmp_path / "home")
    daemons.pid()
    daemons.end()
    connection = sqlite3.connect(daemons.home.journal)
    connection.execute("PRAGMA user_version = 999")
    connection.commit()
    connection.close()
    before = Path(daemons.home.journal).read_bytes()
    with pytest.raises((DaemonUnavailableError, CorralError), match="newer"):
        daemons.pid()
    assert Path(daemons.home.journal).read_bytes() == before


def test_waiting_again_and_again_is_refused_by_nobody(shared: Daemons) -> None:
    with shared.client() as client:
        (one,) = start(client, "sleep 60")
        for _ in range(50):
            assert client.call(p.WaitForJobs(ids=(one,), timeout=0.001)).timed_out
        with pytest.raises(NotSoError):
            client.call(p.WaitForJobs(ids=("nobody",), timeout=0.001))
        client.call(p.StopJobs(ids=(one,), grace=5.0))


def test_a_home_whose_path_is_no_text(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\x1b[2J")
    daemons = Daemons(Path(path))
    try:
        with daemons.client() as client:
            assert (
                wait(client, *start(client, ["sh", "-c", 'printf %s "$CORRAL_HOME"']))[0].state == "succeeded"
            )
            assert from_wire(client.call(p.AskStatus()).home) == path
        assert Path(daemons.home.stdout(1)).read_bytes() == os.fsencode(path)
    finally:
        daemons.end()
