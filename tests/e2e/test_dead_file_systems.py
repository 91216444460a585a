"""Starts on a file system that has stopped answering: they wait, in the queue, and nobody else does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from corral.client import restart_daemon
from corral.client.blocking import Client
from corral.client.environment import surroundings
from corral.client.restart_daemon import restart
from corral.model.spec import FileInput
from corral.protocol import requests as p
from e2e.command import Corral
from e2e.daemons import Daemons, altered, job, spec, start, wait
from frozen import FileSystem, file_system
from until import until

IMPATIENT = """
from corral.runner import stand_ins
stand_ins.DEADLINE_SECONDS, stand_ins.NOTABLE_SECONDS = 0.3, 0.1
"""


@pytest.fixture
def files(tmp_path: Path) -> Iterator[FileSystem]:
    with file_system(tmp_path / "server") as mounted:
        yield mounted


def output(daemons: Daemons, job_id: str) -> bytes:
    return Path(daemons.home.stdout(job_id)).read_bytes()


def begin(
    client: Client, command: str | list[str], *, cwd: str = "/", env: str = "", **fields: object
) -> str:
    """A job of which nobody waits for the start."""
    around = surroundings(cwd=cwd, environment={**os.environ, "PATH": env or os.environ["PATH"]})
    return client.call(p.StartJobs(specs=(spec(command, **fields),), surroundings=around)).ids[0]


def waiting_for(client: Client, job_id: str) -> str:
    found = job(client, job_id)
    return (found.state == "queued" and found.waiting_for) or ""


def test_as_long_as_it_answers_all_is_as_elsewhere(corral: Corral, files: FileSystem) -> None:
    where = files.path
    assert corral.ok("run", "--wait", f"cat < {where}/f | cat") == "content"
    assert corral.ok("run", "--wait", f"echo new > {where}/new") == ""
    assert corral.ok("run", "--wait", f"echo more >> {where}/new") == ""
    assert (where / "new").read_text() == "new\nmore\n"
    assert corral.ok("run", "--wait", "--", f"{where}/script") == "ran"
    assert corral.ok("run", "--wait", "--cwd", str(where), "cat", "f") == "content"
    assert corral.ok("run", "--wait", "--env", f"PATH={where}:{os.environ['PATH']}", "script") == "ran"
    assert corral.ok("run", "--wait", "--stdin", f"{where}/f", "cat") == "content"
    with open(where / "f", "rb") as file:
        assert corral.ok("run", "--wait", "--stdin", "-", "cat", stdin=file) == "content"
    assert corral.ok(
        "run", "--wait", "--pty", f"sh -c 'tty >&2; cat' < {where}/f 2> /dev/stdout"
    ).splitlines() == [
        "not a tty",
        "content",
    ]
    for line, status in (
        (f"{where}/nothing", 127),
        (f"cat < {where}/nothing", 125),
        (f"{where}/folder", 126),
    ):
        ended = corral("run", line)
        assert (ended.returncode, ended.stdout) == (status, ""), ended


def test_each_start_waits_and_nobody_else(
    daemons: Daemons, files: FileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped at once, or going on once it answers, also over a restart of the daemon; each starts once."""
    monkeypatch.setattr(restart_daemon, "check_own_program", lambda: None)
    where, link, script = files.path, tmp_path / "link", tmp_path / "script"
    link.symlink_to(where / "script")
    script.write_text(f"#!{where}/true\n")
    script.chmod(0o755)
    path = f"{where}:{os.environ['PATH']}"
    with daemons.client() as client:
        (sleeper,) = start(client, "sleep 60")
        files.freeze()
        starts = {
            begin(client, f"cat < {where}/f"): "/f",
            begin(client, f"cat /etc/hostname > {where}/new"): "/new",
            begin(client, [str(where / "script")]): "/script",
            begin(client, [str(link)]): str(link),
            begin(client, [str(script)]): "/true",
            begin(client, "pwd", cwd=str(where / "folder")): "/folder",
            begin(client, "script", env=path): "/script",
            begin(client, "cat", stdin=FileInput(str(where / "f"))): "/f",
            begin(client, f"seq 3 | cat 2> {where}/new2 | cat"): "/new2",
        }
        for each, named in starts.items():
            until(
                lambda each=each, named=named: named in waiting_for(client, each),
                f"job {each} to wait for {named}",
            )
        assert wait(client, *start(client, "true"))[0].state == "succeeded"
        given_up = next(iter(starts))
        assert (
            client.call(p.StopJobs(ids=(given_up, sleeper), grace=5.0), timeout=10).reports[0].state
            == "stopped"
        )
        pid = client.hello.pid
    assert restart(daemons.home).pid == pid
    with daemons.client() as client:
        assert all(job(client, each).state == "queued" for each in starts if each != given_up)
        assert wait(client, *start(client, "true"))[0].state == "succeeded"
        files.thaw()
        ended = wait(client, *[each for each in starts if each != given_up])
        assert [each.state for each in ended] == ["succeeded"] * len(ended), ended
        ran = [output(daemons, each.id) for each in ended]
        assert ran[1:3] == [b"ran\n", b"ran\n"]
        assert ran[-2:] == [b"content\n", b"1\n2\n3\n"]
        assert not [each for each in os.listdir(f"/proc/{pid}/fd") if str(where) in link_of(pid, each)]


def link_of(pid: int, descriptor: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/fd/{descriptor}")
    except FileNotFoundError:
        return ""


def test_a_daemon_that_is_killed_meanwhile_has_started_nothing(daemons: Daemons, files: FileSystem) -> None:
    with daemons.client() as client:
        files.freeze()
        waits = begin(client, ["sh", "-c", "echo ran; cat"], stdin=FileInput(str(files.path / "f")))
        until(lambda: waiting_for(client, waits), "it to wait")
    daemons.signal()
    with daemons.client() as client:
        until(lambda: "/f" in waiting_for(client, waits), "the next daemon to let it wait")
        files.thaw()
        assert wait(client, waits)[0].state == "succeeded"
    assert output(daemons, waits) == b"ran\ncontent\n"


def test_one_that_never_answers_fails_the_start_and_empties_nothing(
    tmp_path: Path, files: FileSystem
) -> None:
    kept, into, out = tmp_path / "kept", tmp_path / "into", tmp_path / "out"
    kept.write_bytes(b"all of it")
    for fifo in (into, out):
        os.mkfifo(fifo)
    with altered(tmp_path / "home", IMPATIENT) as daemons, daemons.client(start=False) as client:
        late = begin(client, f"cat < {into} | {files.path}/true > {out}")
        until(lambda: str(out) in waiting_for(client, late), "it to wait for its FIFO, the program found")
        files.freeze()
        never = begin(client, f"cat > {kept} | cat < {files.path}/f")
        (ended,) = wait(client, never)
        assert (ended.state, ended.exit_status, ended.reason) == (
            "failed",
            125,
            f"stage 2: {files.path}/f has not answered for 0.3 s: its file system hangs",
        )
        assert kept.read_bytes() == b"all of it"
        # Its first stage can start by now, its second hangs in execve(2), where no signal ends it.
        reader = os.open(out, os.O_RDONLY | os.O_NONBLOCK)
        with open(into, "wb"):
            until(lambda: job(client, late).state == "stopping", "its start to have failed")
        assert f"{files.path}/true has not answered" in (job(client, late).stages[1].reason or "")
        assert wait(client, *start(client, "true"))[0].state == "succeeded"
        files.thaw()
        (ended,) = wait(client, late)
        assert (ended.state, ended.exit_status) == ("failed", 125)
        assert f"{files.path}/true has not answered" in (ended.reason or "")
        os.close(reader)


def test_stdin_that_could_never_be_closed_is_not_held_for_a_job_that_waits(
    corral: Corral, files: FileSystem
) -> None:
    first = corral.ok("run", "sleep", "60")
    with open(files.path / "f", "rb") as file:
        waits = corral.ok("run", "--after", first, "--stdin", "-", "cat", stdin=file)
        os.lseek(file.fileno(), 3, os.SEEK_SET)
        refused = corral("run", "--after", first, "--stdin", "-", "cat", stdin=file)
    assert (refused.returncode, "pipe it in" in refused.stderr) == (125, True)
    files.freeze()
    assert corral.ok("run", "--wait", "echo", "meanwhile") == "meanwhile"
    files.thaw()
    assert corral.ok("stop", "--json", waits)
