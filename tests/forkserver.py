"""A process that has the command and the daemon imported, and forks one of them for each that a test asks for.

Such a `corral` or daemon is a process like any other, but costs a fork instead of the start of an interpreter, which is most
of what a test of them takes. CORRAL_TESTS_EXEC=1 starts an interpreter for each.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any
from unittest import mock

from corral.client import session, start_daemon
from corral.daemon.process_setup import become_background
from corral.model.home import Home
from corral.platform.files.descriptors import unnamed_file
from corral.platform.host.python_interpreter import CHOICE

_PACKAGES = ("corral.client", "corral.daemon", "corral.model", "corral_tui.cli", "corral_tui.text")
_LENGTH = struct.Struct("!q")
_AT_START = ("LANG", "LC_", "PYTHON")
"""What an interpreter reads at its start: in a fork it can no longer be changed."""
_STARTED_WITH = dict(os.environ)
_own_address = ""
"""Of the server, in itself and in what it forks."""
_ROOM = 4096
"""Bytes of the server's command line that a daemon has for its own."""


# ---- the side of the tests


def can_run(changes: Mapping[str, str], options: Mapping[str, object]) -> bool:
    """Whether a fork can be as those ask."""
    at_start = any(name.startswith(_AT_START) for name in changes)
    known = options.keys() <= {"cwd", "timeout", "stdin", "input", "text"}
    return known and not at_start and os.environ.get("CORRAL_TESTS_EXEC") != "1"


def run(
    words: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str | os.PathLike[str],
    timeout: float,
    stdin: int | IO[bytes] | None = None,
    input: bytes | str | None = None,  # noqa: A002 - as subprocess has it
    text: bool = True,
) -> subprocess.CompletedProcess[Any]:
    """As `subprocess.run`, of `corral words…`, with both streams captured."""
    given = input.encode() if isinstance(input, str) else input
    with ThreadPoolExecutor(3) as threads, socket.socket(socket.AF_UNIX) as sock:
        out, its_out = os.pipe()
        err, its_err = os.pipe()
        said = [threads.submit(_read, descriptor) for descriptor in (out, err)]
        with contextlib.ExitStack() as theirs:
            theirs.callback(os.close, its_out)
            theirs.callback(os.close, its_err)
            if given is not None:
                its_in, writer = os.pipe()
                threads.submit(_write, writer, given)
            elif stdin is None or stdin == subprocess.DEVNULL:
                its_in = os.open(os.devnull, os.O_RDONLY)
            else:
                its_in = os.dup(stdin if isinstance(stdin, int) else stdin.fileno())
            theirs.callback(os.close, its_in)
            sock.settimeout(timeout)
            pid = _ask(sock, words, env, os.fspath(cwd), (its_in, its_out, its_err))
        try:
            (status,) = _LENGTH.unpack(sock.recv(_LENGTH.size))
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(list(words), timeout) from None
        stdout, stderr = (_text(each.result(timeout)) if text else each.result(timeout) for each in said)
    return subprocess.CompletedProcess(list(words), os.waitstatus_to_exitcode(status), stdout, stderr)


@contextlib.contextmanager
def daemons() -> Iterator[None]:
    """Also the daemons that this process starts are forked."""
    with mock.patch.object(start_daemon, "launch", _launch), mock.patch.object(session, "launch", _launch):
        yield


def _launch(
    home: Home, *arguments: str, passed: tuple[int, ...] = (), execute: Any = start_daemon.launch
) -> start_daemon.Launched:
    """As `start_daemon.launch`."""
    environment = start_daemon.environment_of_daemon()
    changed = {name: value for name, value in environment.items() if _STARTED_WITH.get(name) != value}
    if CHOICE in environment or not can_run(changed, {}):
        launched: start_daemon.Launched = execute(home, *arguments, passed=passed)
        return launched
    reader, writer = os.pipe()
    said = unnamed_file("daemon")
    with socket.socket(socket.AF_UNIX) as sock, open(writer, "wb"):
        words = ["-P", "-m", start_daemon.LAUNCH, home.path, "3", *arguments]
        pid = _ask(sock, words, environment, "/", (said.fileno(), writer, *passed))
    return start_daemon.Launched(sys.executable, pid, reader, said)


def _ask(
    sock: socket.socket,
    words: Sequence[str],
    environment: Mapping[str, str],
    directory: str,
    descriptors: Sequence[int],
) -> int:
    """The pid of the fork, whose end the server says on `sock`."""
    order = json.dumps([list(words), dict(environment), directory]).encode("ascii")
    sock.connect(_server())
    socket.send_fds(sock, [_LENGTH.pack(len(order))], descriptors)
    sock.sendall(order)
    (pid,) = _LENGTH.unpack(sock.recv(_LENGTH.size))
    return int(pid)


def _read(descriptor: int) -> bytes:
    with open(descriptor, "rb") as stream:
        return stream.read()


def _write(descriptor: int, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), open(descriptor, "wb") as stream:
        stream.write(data)


def _text(data: bytes) -> str:
    return data.decode().replace("\r\n", "\n").replace("\r", "\n")


@functools.cache
def _server() -> str:
    """The address of the server of this process, which ends with it; of a fork, that which forked it."""
    if _own_address:
        return _own_address
    name = f"corral-tests-{os.getpid()}"
    argv = [sys.executable, "-P", os.path.abspath(__file__), name, "." * _ROOM]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
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
        with sock, contextlib.suppress(BrokenPipeError):
            sock.sendall(_LENGTH.pack(os.waitpid(pid, 0)[1]))

    def _is_fork(self, sock: socket.socket) -> bool:
        length, given, *_ = socket.recv_fds(sock, _LENGTH.size, 8)
        with sock.makefile("rb") as order:
            words, environment, directory = json.loads(order.read(*_LENGTH.unpack(length)))
        child = os.fork()
        if child == 0:
            self._close(sock)
            _become(words, environment, directory, given)
            return True
        for descriptor in given:
            os.close(descriptor)
        with contextlib.suppress(BrokenPipeError):
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


def _become(words: list[str], environment: dict[str, str], directory: str, given: list[int]) -> None:
    is_daemon = start_daemon.LAUNCH in words
    first = 2 if is_daemon else 0
    assert min(given) >= first + len(given), "none is overwritten before it is where it belongs"
    for number, descriptor in enumerate(given, first):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    if is_daemon:
        _show_as_command_line([sys.executable, *words])
        sys.argv = words[2:]
        return
    sys.argv[1:] = words
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        old = getattr(sys, name)
        buffering = 1 if number == 2 else -1
        stream = open(number, old.mode, buffering, old.encoding, old.errors, closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _show_as_command_line(argv: list[str]) -> None:
    """Overwrite that of this process: daemons are found by theirs."""
    sys.orig_argv[:] = argv
    with open("/proc/self/stat", "rb") as stat:
        start, end = map(int, stat.read().split()[47:49])  # proc_pid_stat(5): arg_start, arg_end
    ctypes.memmove(start, b"\0".join(map(os.fsencode, argv)).ljust(end - start, b"\0"), end - start)


def _import_all() -> None:
    for name in _PACKAGES:
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            importlib.import_module(module.name)
    gc.collect()
    gc.freeze()


def _run_command() -> int:
    from corral_tui.main import main

    with daemons():
        return main()


def _run_daemon() -> int:
    """As `corral.service.launch`."""
    from corral.daemon.main import main

    path, report, *how = sys.argv[1:]
    become_background(path, {int(report), *map(int, how[1:2])})
    return main(path, int(report), how)


if __name__ == "__main__":
    _import_all()
    _own_address = f"\0{sys.argv[1]}"
    _Server(_own_address).serve()
    status = _run_daemon() if start_daemon.LAUNCH in sys.argv else _run_command()
    sys.stdout.flush()
    os._exit(status)  # Taking down all that is imported takes longer than most verbs.
