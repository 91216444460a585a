"""A process that has the command and the daemon imported, and forks one of them for each that a test asks for.

Such a `corral`, daemon or program of Python is a process like any other, but costs a fork instead of the start of an
interpreter, which is most of what a test of them takes. CORRAL_TESTS_EXEC=1 starts an interpreter for each.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fcntl
import functools
import gc
import importlib
import json
import os
import pkgutil
import select
import selectors
import socket
import struct
import subprocess
import sys
import termios
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

from corral.client import restart_daemon, session, start_daemon
from corral.daemon.process_setup import become_background
from corral.model.home import Home
from corral.platform.files.descriptors import unnamed_file

_PACKAGES = (
    "corral.client",
    "corral.daemon",
    "corral.model",
    "corral_tui.cli",
    "corral_tui.dashboard",
    "corral_tui.text",
)
_COMMAND = [sys.executable, "-m", "corral_tui.main"]
_CODE = [sys.executable, "-c"]
_DAEMON = [sys.executable, "-P", "-m", start_daemon.LAUNCH]
_AT_START = ("LANG", "LC_", "PYTHON")
"""What an interpreter reads at its start: in a fork it can no longer be changed."""
_STARTED_WITH = dict(os.environ)
_LENGTH = struct.Struct("!q")
_ROOM = "." * 8192
"""The forks show their command line and environment in place of it."""
# A new session takes the terminal as its own only when it asks (tty_ioctl(4)).
_TAKE_TERMINAL = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
_own_address = ""
"""Of the server, in itself and in what it forks."""


# ---- the side of the tests


class Forked(subprocess.Popen[Any]):
    """A `subprocess.Popen` of the command or of a program of Python, which the server forks and reaps."""

    def __init__(self, argv: Sequence[str], *, takes_terminal: bool = False, **options: Any) -> None:
        self._takes_terminal = takes_terminal
        super().__init__(argv, **options)

    def _execute_child(self, *given: Any) -> None:
        argv, _, _, _, _, directory, environment, *_, is_leader, _ = given
        pipes = given[10:16]
        streams = [own if theirs < 0 else theirs for own, theirs in enumerate((pipes[0], pipes[3], pipes[5]))]
        self._end = socket.socket(socket.AF_UNIX)
        self.pid = _ask(
            self._end,
            argv,
            environment or os.environ,
            directory or os.getcwd(),
            streams,
            is_leader=is_leader,
            takes_terminal=self._takes_terminal,
        )
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]

    def _internal_poll(self, *_: object, **__: object) -> int | None:
        return self._heard(0)

    def _wait(self, timeout: float | None) -> int:
        if self._heard(timeout) is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        return int(self.returncode)

    def _heard(self, seconds: float | None) -> int | None:
        if self.returncode is None:
            poller = select.poll()
            poller.register(self._end, select.POLLIN)
            if poller.poll(None if seconds is None else seconds * 1000):
                with self._end:
                    self.returncode = os.waitstatus_to_exitcode(*_LENGTH.unpack(self._end.recv(_LENGTH.size)))
        return self.returncode


def popen(argv: Sequence[Any], **options: Any) -> subprocess.Popen[Any]:
    """As `subprocess.Popen`: a fork, where one can be as that asks."""
    return (Forked if _forks(argv, options) else subprocess.Popen)(argv, **options)


def on_terminal(argv: Sequence[Any], **options: Any) -> subprocess.Popen[Any]:
    """The same for the leader of a session, which takes the terminal that is its stdin."""
    if _forks(argv, options):
        return Forked(argv, start_new_session=True, takes_terminal=True, **options)
    launcher = (sys.executable, "-S", "-E", "-c", _TAKE_TERMINAL)
    return subprocess.Popen([*launcher, *argv], start_new_session=True, **options)


def _forks(argv: Sequence[Any], options: Mapping[str, Any]) -> bool:
    is_known = options.keys() <= {"cwd", "env", "stdin", "stdout", "stderr", "start_new_session", "text"}
    is_ours = list(argv[:3]) == _COMMAND or list(argv[:2]) == _CODE
    is_text = all(isinstance(word, str) for word in argv)
    return is_known and is_ours and is_text and _can_fork(options.get("env") or os.environ)


def run(
    argv: Sequence[Any],
    *,
    input: bytes | str | None = None,  # noqa: A002 - as subprocess has it
    timeout: float,
    **options: Any,
) -> subprocess.CompletedProcess[Any]:
    """As `subprocess.run`, without a stream of ours."""
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    if input is not None:
        options["stdin"] = subprocess.PIPE
    with popen(argv, **options) as process:
        try:
            stdout, stderr = process.communicate(input, timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return subprocess.CompletedProcess(argv, process.returncode, stdout, stderr)


@contextlib.contextmanager
def daemons() -> Iterator[None]:
    """Also the daemons that this process starts are forked."""
    with (
        mock.patch.object(start_daemon, "launch", _launch),
        mock.patch.object(session, "launch", _launch),
        mock.patch.object(restart_daemon, "check_own_program", _check_own_program),
    ):
        yield


def _launch(
    home: Home, *arguments: str, passed: tuple[int, ...] = (), execute: Any = start_daemon.launch
) -> start_daemon.Launched:
    """As `start_daemon.launch`."""
    environment = start_daemon.environment_of_daemon()
    is_ours = (start_daemon.interpreter(), start_daemon.LAUNCH) == (_DAEMON[0], _DAEMON[-1])
    if not is_ours or not _can_fork(environment):
        launched: start_daemon.Launched = execute(home, *arguments, passed=passed)
        return launched
    reader, writer = os.pipe()
    said = unnamed_file("daemon")
    with socket.socket(socket.AF_UNIX) as sock, open(writer, "wb"):
        argv = [*_DAEMON, home.path, "3", *arguments]
        pid = _ask(sock, argv, environment, "/", (said.fileno(), writer, *passed))
    return start_daemon.Launched(sys.executable, pid, reader, said)


def _check_own_program(execute: Callable[[], None] = restart_daemon.check_own_program) -> None:
    """A fork has the program of the daemon loaded already."""
    if start_daemon.interpreter() != _DAEMON[0] or not _can_fork(os.environ):
        execute()


def _can_fork(environment: Mapping[str, str]) -> bool:
    at_start = {name: value for name, value in environment.items() if name.startswith(_AT_START)}
    return at_start.items() <= _STARTED_WITH.items() and os.environ.get("CORRAL_TESTS_EXEC") != "1"


def _ask(
    sock: socket.socket,
    argv: Sequence[str],
    environment: Mapping[str, str],
    directory: str | os.PathLike[str],
    descriptors: Sequence[int],
    *,
    is_leader: bool = False,
    takes_terminal: bool = False,
) -> int:
    """The pid of the fork, whose end the server says on `sock`."""
    order = json.dumps([list(argv), dict(environment), os.fspath(directory), is_leader, takes_terminal])
    sock.connect(server())
    socket.send_fds(sock, [_LENGTH.pack(len(order))], descriptors)
    sock.sendall(order.encode("ascii"))
    (pid,) = _LENGTH.unpack(sock.recv(_LENGTH.size))
    return int(pid)


@functools.cache
def server() -> str:
    """The address of the server of this process, which ends with it; of a fork, that which forked it."""
    if _own_address:
        return _own_address
    name = f"corral-tests-{os.getpid()}"
    argv = [sys.executable, "-P", os.path.abspath(__file__), name, _ROOM]
    environment = os.environ | {"CORRAL_TESTS_ROOM": _ROOM}
    process = subprocess.Popen(argv, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"

    def end() -> None:
        process.communicate()

    atexit.register(end)
    return f"\0{name}"


# ---- the side of the server


class _Server:
    """Forks for each request, and says how it ended, until stdin is closed."""

    def __init__(self, address: str) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(address)
        self._listener.listen(64)
        self._ready = selectors.DefaultSelector()
        self._ready.register(0, selectors.EVENT_READ)
        self._ready.register(self._listener, selectors.EVENT_READ)
        self._children: dict[int, tuple[int, socket.socket]] = {}

    def serve(self) -> None:
        """Returns in each fork."""
        print("ready", flush=True)
        while True:
            for key, _ in self._ready.select():
                if key.fd == 0:
                    sys.exit(0)
                elif key.fd in self._children:
                    self._tell_end(key.fd)
                elif self._is_fork(self._listener.accept()[0]):
                    return

    def _tell_end(self, pidfd: int) -> None:
        self._ready.unregister(pidfd)
        os.close(pidfd)
        pid, sock = self._children.pop(pidfd)
        with sock, contextlib.suppress(ConnectionError):
            sock.sendall(_LENGTH.pack(os.waitpid(pid, 0)[1]))

    def _is_fork(self, sock: socket.socket) -> bool:
        length, given, *_ = socket.recv_fds(sock, _LENGTH.size, 8)
        with sock.makefile("rb") as order:
            text = order.read(*_LENGTH.unpack(length)) if length else b""
        child = os.fork() if text else -1
        if child == 0:
            self._close(sock)
            _become(given, *json.loads(text))
            return True
        for descriptor in given:
            os.close(descriptor)
        if child < 0:
            sock.close()  # who asked was killed meanwhile
            return False
        with contextlib.suppress(ConnectionError):
            sock.sendall(_LENGTH.pack(child))
        pidfd = os.pidfd_open(child)
        self._children[pidfd] = (child, sock)
        self._ready.register(pidfd, selectors.EVENT_READ)
        return False

    def _close(self, sock: socket.socket) -> None:
        for held in (self._ready, self._listener, sock, *(other for _, other in self._children.values())):
            held.close()
        for pidfd in self._children:
            os.close(pidfd)


def _become(
    given: list[int],
    argv: list[str],
    environment: dict[str, str],
    directory: str,
    is_leader: bool,
    takes_terminal: bool,
) -> None:
    first = 2 if argv[:4] == _DAEMON else 0
    assert min(given) >= first + len(given), "none is overwritten before it is where it belongs"
    for number, descriptor in enumerate(given, first):
        os.dup2(descriptor, number)
        os.close(descriptor)
    if is_leader:
        os.setsid()
    if takes_terminal:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    _show(argv, environment)
    if first == 0:
        _reopen_streams()


def _reopen_streams() -> None:
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        old = getattr(sys, name)
        buffering = 1 if number == 2 else -1
        stream = open(number, old.mode, buffering, old.encoding, old.errors, closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _show(argv: list[str], environment: dict[str, str]) -> None:
    """As command line and environment of this process: by these it is found."""
    sys.orig_argv[:] = argv
    with open("/proc/self/stat", "rb") as stat:
        places = list(map(int, stat.read().split()[47:51]))  # proc_pid_stat(5): arg_start and the next three
    variables = [f"{name}={value}" for name, value in environment.items() if len(value) < 500]
    _overwrite(*places[:2], argv)
    _overwrite(*places[2:], variables)


def _overwrite(start: int, end: int, texts: Iterable[str]) -> None:
    shown = b"\0".join(map(os.fsencode, texts))[: end - start - 1]
    ctypes.memmove(start, shown.ljust(end - start, b"\0"), end - start)


def _import_all() -> None:
    for name in _PACKAGES:
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            importlib.import_module(module.name)
    gc.collect()
    gc.freeze()


def _run(argv: list[str]) -> int:
    """As an interpreter with these arguments. The exit status."""
    if argv[:4] == _DAEMON:
        return _run_daemon(*argv[4:])
    sys.argv[:] = argv[2:]
    with daemons():
        if argv[:2] != _CODE:
            from corral_tui.main import main

            return main()
        sys.argv[0] = "-c"
        try:
            exec(argv[2], {"__name__": "__main__"})
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else int(end.code is not None)
        return 0


def _run_daemon(path: str, report: str, *how: str) -> int:
    """As `corral.service.launch`."""
    from corral.daemon.main import main

    become_background(path, {int(report), *map(int, how[1:2])})
    return main(path, int(report), how)


if __name__ == "__main__":
    _import_all()
    _own_address = f"\0{sys.argv[1]}"
    _Server(_own_address).serve()
    status = 1
    try:
        status = _run(sys.orig_argv)
    except BaseException:
        traceback.print_exc()
    # As an interpreter ends, but for taking down all that is imported: that takes longer than most verbs.
    threading._shutdown()  # type: ignore[attr-defined]
    sys.stdout.flush()
    os._exit(status)
