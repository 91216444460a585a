"""A home that is ours alone: what is refused, what is closed to others, and where nobody's files are touched."""

from __future__ import annotations

import os
import socket
import stat
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.daemon import server
from corral.daemon.server import is_own_user
from corral.home.directory import check_home, prepare_home
from corral.model.errors import CorralError
from corral.model.home import Home
from corral.platform.files import peer_credentials
from corral.platform.host.path_trust import why_replaceable
from corral.protocol.address import dial, listen
from until import until

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what belongs to others")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(str(tmp_path / "home"))
    prepare_home(made)
    return made


def mode(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def refusal(home: Home) -> str:
    for look in (check_home, prepare_home):
        with pytest.raises(CorralError) as caught:
            look(home)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("umask", [0, 0o022, 0o777])
def test_all_that_is_made_is_private(tmp_path: Path, umask: int) -> None:
    home = Home(str(tmp_path / "state" / "deep" / "corral"))
    before = os.umask(umask)
    try:
        prepare_home(home)
    finally:
        os.umask(before)
    for path in (
        home.jobs,
        home.path,
        os.path.dirname(home.path),
        os.path.dirname(os.path.dirname(home.path)),
    ):
        assert mode(path) == 0o700


def test_a_symlink_of_ours_to_a_directory_of_ours_is_a_home(tmp_path: Path) -> None:
    os.mkdir(tmp_path / "disk", 0o755)
    os.symlink(tmp_path / "disk", tmp_path / "home")
    prepare_home(Home(str(tmp_path / "home")))
    assert mode(str(tmp_path / "disk")) == mode(str(tmp_path / "disk" / "jobs")) == 0o700


def test_a_home_where_others_may_replace_it_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    os.mkdir(shared)
    os.chmod(shared, 0o777)
    home = Home(str(shared / "a" / "home"))
    with pytest.raises(CorralError) as caught:
        prepare_home(home)
    assert f"{shared} may be written by others" in str(caught.value)
    assert os.listdir(shared) == []
    os.mkdir(tmp_path / "mine")
    os.symlink(tmp_path / "mine", shared / "link")
    assert "may be written by others" in refusal(Home(str(shared / "link")))
    os.chmod(shared, 0o1777)
    prepare_home(home)
    prepare_home(Home(str(shared / "link")))


def test_a_group_of_others_may_replace_what_is_in_its_directories(tmp_path: Path, monkeypatch: Any) -> None:
    import grp

    monkeypatch.setattr(grp, "getgrgid", lambda _: struct_group("lab", ["ann", "bob"]))
    os.mkdir(tmp_path / "lab")
    os.chmod(tmp_path / "lab", 0o770)
    assert why_replaceable(str(tmp_path / "lab" / "home")) == f"{tmp_path / 'lab'} may be written by others"
    import pwd

    own = pwd.getpwuid(os.geteuid()).pw_name
    monkeypatch.setattr(grp, "getgrgid", lambda _: struct_group(own, []))
    assert why_replaceable(str(tmp_path / "lab" / "home")) is None


def struct_group(name: str, members: list[str]) -> Any:
    import grp

    return grp.struct_group((name, "x", 77, members))


def test_links_in_a_circle_are_an_error(tmp_path: Path) -> None:
    os.symlink(tmp_path / "b", tmp_path / "a")
    os.symlink(tmp_path / "a", tmp_path / "b")
    assert "symbolic links" in refusal(Home(str(tmp_path / "a")))


def test_what_others_use_too_is_not_closed_to_them(tmp_path: Path) -> None:
    Path(tmp_path / "profile").write_text("")
    for bits in (0o755, 0o1777):
        os.chmod(tmp_path, bits)
        assert "a directory of its own" in refusal(Home(str(tmp_path)))
        assert mode(str(tmp_path)) == bits
    os.chmod(tmp_path, 0o700)
    prepare_home(Home(str(tmp_path)))


@pytest.mark.parametrize("bits", [0o755, 0o770, 0o777])
def test_a_home_of_ours_is_closed_to_others_at_the_first_look(home: Home, bits: int) -> None:
    os.chmod(home.jobs, bits)
    os.chmod(home.path, bits)
    check_home(home)
    assert mode(home.path) == 0o700
    prepare_home(home)
    assert mode(home.jobs) == 0o700


LINKED = [
    "corral.db",
    "corral.db-wal",
    "corral.db-shm",
    "daemon.lock",
    "daemon.log",
    "home.json",
    "jobs",
    "socket",
]


@pytest.mark.parametrize("name", LINKED)
def test_a_symlink_in_place_of_ours_is_refused_and_not_followed(
    home: Home, tmp_path: Path, name: str
) -> None:
    target = tmp_path / "target"
    os.mkdir(target) if name == "jobs" else target.write_text("precious")
    before = os.stat(target)
    path = os.path.join(home.path, name)
    if name == "jobs":
        os.rmdir(path)
    os.symlink(target, path)
    assert refusal(home).startswith(f"{path} is a symlink: ")
    assert os.stat(target) == before


@pytest.mark.parametrize(
    ("name", "make"), [("corral.db", os.mkfifo), ("daemon.lock", os.mkfifo), ("socket", os.mkdir)]
)
def test_something_else_in_place_of_ours_is_refused(
    home: Home, name: str, make: Callable[[str], None]
) -> None:
    make(os.path.join(home.path, name))
    assert "is not what corral makes there" in refusal(home)


def test_a_file_linked_into_an_open_home_is_not_written_to(home: Home, tmp_path: Path) -> None:
    (tmp_path / "profile").write_text("precious")
    os.link(tmp_path / "profile", home.daemon_log)
    check_home(home)  # A private home: the other name is a backup's, say.
    os.chmod(home.path, 0o777)
    with pytest.raises(CorralError, match="also has another name"):
        check_home(home)


@as_root
def test_what_belongs_to_others_is_refused(home: Home, tmp_path: Path) -> None:
    Path(home.journal).write_text("")
    os.chown(home.journal, NOBODY, -1)
    assert "belongs to nobody" in refusal(home)
    os.chown(home.journal, 0, -1)
    os.chmod(home.path, 0o777)
    Path(home.path, "planted").write_text("")
    os.chown(Path(home.path, "planted"), NOBODY, -1)
    with pytest.raises(CorralError, match="planted belongs to nobody"):
        check_home(home)
    os.unlink(Path(home.path, "planted"))
    os.chmod(home.path, 0o777)
    os.mkdir(home.job(7))
    os.chown(home.job(7), NOBODY, -1)
    os.chmod(home.jobs, 0o777)
    with pytest.raises(CorralError, match="jobs/7 belongs to nobody"):
        check_home(home)
    os.chown(home.path, NOBODY, -1)
    assert "run corral as that user" in refusal(home)


@as_root
def test_a_link_or_a_directory_above_that_belongs_to_others_is_refused(home: Home, tmp_path: Path) -> None:
    os.symlink(home.path, tmp_path / "link")
    os.lchown(tmp_path / "link", NOBODY, -1)
    assert f"{tmp_path / 'link'} belongs to nobody" in refusal(Home(str(tmp_path / "link")))
    os.mkdir(tmp_path / "theirs")
    prepare_home(Home(str(tmp_path / "theirs" / "home")))
    os.chown(tmp_path / "theirs", NOBODY, -1)
    assert "theirs belongs to nobody" in refusal(Home(str(tmp_path / "theirs" / "home")))


@given(st.text() | st.sampled_from(["../../x", "/etc", "..", "", "7/../../..", "1\0", "\uff11"]))
def test_no_text_leads_out_of_the_jobs(text: str) -> None:
    home = Home("/h")
    try:
        path = home.stdout(text)
    except ValueError:
        return
    assert os.path.normpath(path) == path
    assert path.startswith("/h/jobs/")
    assert path[len("/h/jobs/") :].removesuffix("/stdout").lstrip("-").isdecimal()


# ---- who is at the other end --------------------------------------------------------------------------------------

AS_NOBODY = """
import os, socket, sys
folder = int(sys.argv[1])
os.setgroups([]); os.setgid(65534); os.setuid(65534)
sock = socket.socket(socket.AF_UNIX)
"""
CONNECTS = AS_NOBODY + "sock.connect(f'/proc/self/fd/{folder}/socket'); print(len(sock.recv(1)))"
LISTENS = AS_NOBODY + (
    "sock.bind(f'/proc/self/fd/{folder}/socket'); sock.listen(); print('ready', flush=True); sys.stdin.read()"
)


def other_user(code: str, folder: int, **options: Any) -> subprocess.Popen[str]:
    argv = [sys.executable, "-S", "-E", "-c", code, str(folder)]
    return subprocess.Popen(argv, pass_fds=[folder], stdout=subprocess.PIPE, text=True, **options)


@as_root
def test_a_client_of_another_user_is_hung_up_on(home: Home) -> None:
    """Even if somebody opened the way to the socket."""
    with listen(home) as listener:
        assert mode(home.socket) == 0o600
        os.chmod(home.path, 0o777)
        os.chmod(home.socket, 0o777)
        folder = os.open(home.path, os.O_PATH)
        with other_user(CONNECTS, folder) as client:
            sock, _ = listener.accept()
            assert peer_credentials.peer_of(sock) == (client.pid, NOBODY)
            assert not is_own_user(sock)
            sock.close()
            assert client.wait(20) == 0
        os.close(folder)
        with dial(home) as own, listener.accept()[0] as accepted:
            assert is_own_user(accepted)
            assert peer_credentials.peer_of(own) == (os.getpid(), os.geteuid())


@as_root
def test_a_client_tells_nothing_to_the_daemon_of_another_user(home: Home) -> None:
    os.chmod(home.path, 0o777)
    folder = os.open(home.path, os.O_PATH)
    with other_user(LISTENS, folder, stdin=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        with pytest.raises(CorralError, match="served by nobody, not by a daemon of yours"):
            dial(home)
        server.communicate()
    os.close(folder)


def test_root_and_we_are_served_and_nobody_else(monkeypatch: Any) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for uid, is_served in (
            (os.geteuid(), True),
            (0, True),
            (os.geteuid() + 1, False),
            (NOBODY - 1, False),
        ):
            monkeypatch.setattr(server, "peer_of", lambda _, uid=uid: (1, uid))
            assert is_own_user(ours) == is_served


class OfMacos:
    """Answers getsockopt(2) as macOS does."""

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        assert level == 0
        return {1: struct.pack("IIh66x", 0, 501, 3), 2: struct.pack("i", 4242)}[option][:size]


def test_the_peer_is_known_on_macos_too(monkeypatch: Any) -> None:
    monkeypatch.delattr(socket, "SO_PEERCRED")
    assert peer_credentials.peer_of(OfMacos()) == (4242, 501)  # type: ignore[arg-type]


@as_root
def test_the_command_says_it_in_one_line(home: Home, tmp_path: Path) -> None:
    os.symlink(tmp_path / "elsewhere", home.daemon_log)
    argv = [sys.executable, "-m", "corral_tui.main"]
    for words, sudo in ((["ps"], {}), (["run", "true"], {}), (["daemon", "status"], {}), (["show", "1"], {})):
        said = subprocess.run(
            [*argv, *words],
            env={**os.environ, "CORRAL_HOME": home.path, **sudo},
            capture_output=True,
            text=True,
        )
        assert (said.returncode, said.stdout) == (125, "")
        assert said.stderr == (
            f"corral: {home.daemon_log} is a symlink: look at it, and move it away or set CORRAL_HOME to another directory\n"
        )
    assert not os.path.lexists(tmp_path / "elsewhere")
    until(lambda: not os.path.exists(home.socket), "no daemon to be there")
