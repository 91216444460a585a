"""A process that has the whole command imported, and forks a `corral` for each that a test asks for.

Such a `corral` is a process like any other, but costs a fork instead of the start of an interpreter, which is most of what
a test of the command line takes. CORRAL_TESTS_EXEC=1 starts an interpreter for each.
"""

from __future__ import annotations

import atexit
import contextlib
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
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

_PACKAGES = ("corral.client", "corral.model", "corral_tui.cli", "corral_tui.text")
_LENGTH = struct.Struct("!q")


# ---- the side of the tests


def can_run(changes: Mapping[str, str], options: Mapping[str, object]) -> bool:
    """Whether a fork can be as those ask: what an interpreter reads at its start can no longer be changed."""
    at_start = any(name.startswith(("LANG", "LC_", "PYTHON")) for name in changes)
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
            order = json.dumps([list(words), dict(env), os.fspath(cwd)]).encode("ascii")
            sock.connect(_server())
            sock.settimeout(timeout)
            socket.send_fds(sock, [_LENGTH.pack(len(order))], [its_in, its_out, its_err])
            sock.sendall(order)
        (pid,) = _LENGTH.unpack(sock.recv(_LENGTH.size))
        try:
            (status,) = _LENGTH.unpack(sock.recv(_LENGTH.size))
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(list(words), timeout) from None
        stdout, stderr = (_text(each.result(timeout)) if text else each.result(timeout) for each in said)
    return subprocess.CompletedProcess(list(words), os.waitstatus_to_exitcode(status), stdout, stderr)


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
    """The address of the server of this process, which ends with it."""
    name = f"corral-tests-{os.getpid()}"
    argv = [sys.executable, "-P", os.path.abspath(__file__), name]
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
        length, streams, *_ = socket.recv_fds(sock, _LENGTH.size, 3)
        with sock.makefile("rb") as order:
            words, environment, directory = json.loads(order.read(*_LENGTH.unpack(length)))
        child = os.fork()
        if child == 0:
            self._close(sock)
            _become(words, environment, directory, streams)
            return True
        for descriptor in streams:
            os.close(descriptor)
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


def _become(words: list[str], environment: dict[str, str], directory: str, streams: list[int]) -> None:
    for number, (name, descriptor) in enumerate(zip(("stdin", "stdout", "stderr"), streams, strict=True)):
        os.dup2(descriptor, number)
        os.close(descriptor)
        old = getattr(sys, name)
        buffering = 1 if number == 2 else -1
        stream = open(number, old.mode, buffering, old.encoding, old.errors, closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[1:] = words


def _import_all() -> None:
    for name in _PACKAGES:
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            importlib.import_module(module.name)
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    _import_all()
    _Server(f"\0{sys.argv.pop(1)}").serve()
    from corral_tui.main import main

    status = main()
    sys.stdout.flush()
    os._exit(status)  # Taking down all that is imported takes longer than most verbs.
