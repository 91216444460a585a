"""A place for one tool with one job: a directory with its own HOME, processes found by what they hold, and an end to all of it.

The programs that use this run in a pid namespace of their own where they may, so that a survivor, or a tool that kills the
wrong process, can hurt nobody: `enter_namespace`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import platform
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

INSIDE = "--inside"


def enter_namespace(arguments: Sequence[str]) -> None:
    """Run this program again in a pid and network namespace of its own, and exit with its status; return where that cannot be."""
    as_who = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    unshare = ["unshare", *as_who, "--pid", "--net", "--fork", "--mount-proc", "--kill-child"]
    can = shutil.which("unshare") is not None
    if not can or subprocess.run([*unshare, "true"], check=False, stderr=subprocess.DEVNULL).returncode != 0:
        print("no pid namespace to be had: everything is ended by pid all the same", file=sys.stderr)
        return
    # Pid 1 of it takes in orphans; a shell that waits reaps them.
    shell = ["sh", "-c", '"$@"; exit $?', "sh"]
    again = [sys.executable, *sys.argv[:1], INSIDE, *arguments]
    sys.exit(subprocess.run([*unshare, *shell, *again], check=False).returncode)


# ---- processes ----------------------------------------------------------------------------------------------------


def pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def opened_by(pid: int) -> set[str]:
    """What its descriptors point to. A zombie has none, nor has one that is gone."""
    folder = f"/proc/{pid}/fd"
    found = set()
    with contextlib.suppress(OSError):
        for number in os.listdir(folder):
            with contextlib.suppress(OSError):
                found.add(os.readlink(f"{folder}/{number}"))
    return found


def holders(paths: Iterable[str]) -> dict[str, set[int]]:
    """For each of these files the processes that have it open."""
    found: dict[str, set[int]] = {path: set() for path in paths}
    for pid in pids():
        for path in opened_by(pid) & found.keys():
            found[path].add(pid)
    return found


def listener(path: str) -> int:
    """The process that listens on a unix socket: proc(5), net/unix, whose flag 00010000 says that it accepts."""
    with open("/proc/net/unix", encoding="utf-8", errors="replace") as table:
        for line in table:
            fields = line.split()
            if fields[-1] == path and fields[3] == "00010000":
                socket = f"socket:[{fields[6]}]"
                return next(pid for pid in pids() if socket in opened_by(pid))
    raise LookupError(f"nobody listens on {path}")


def send(pid: int, number: signal.Signals, is_right: Callable[[int], bool]) -> None:
    """Signal a process of ours; `is_right` is asked once its pid can no longer be reused."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if is_right(pid):
            signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)


def read_quietly(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


# ---- the place ----------------------------------------------------------------------------------------------------


@dataclass
class Place:
    """`folder` holds all that the tool and its job keep. `token`: what each process of the job has open."""

    folder: str
    environment: dict[str, str]
    foreground: subprocess.Popen[bytes] | None = None
    terminals: list[int] = field(default_factory=list)

    @property
    def token(self) -> str:
        return f"{self.folder}/token"

    @property
    def screen(self) -> str:
        return f"{self.folder}/screen"

    def run(self, argv: Sequence[str], patience: float = 30.0) -> tuple[int | None, str]:
        """A command of the tool to its end: its exit status (None: it took too long, and was ended) and what it said."""
        path = f"{self.folder}/said-{time.monotonic_ns()}"
        # Into a file: a background process that it leaves behind may keep a pipe open for ever.
        with open(path, "wb") as said:
            process = self._start(argv, said.fileno())
        try:
            status: int | None = process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            status = None
        words = read_quietly(path).decode(errors="replace")
        os.unlink(path)
        return status, words

    def begin(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """A command of the tool, not waited for; what it says is dropped."""
        return self._start(argv, subprocess.DEVNULL)

    def stay(self, argv: Sequence[str], on_terminal: bool) -> None:
        """Start a manager that stays in the foreground, what it shows kept in `screen`."""
        if on_terminal:
            self.foreground = self._on_terminal(argv)
            return
        with open(self.screen, "ab") as screen:
            self.foreground = self._start(argv, screen.fileno())

    def type(self, keys: bytes) -> None:
        os.write(self.terminals[-1], keys)

    def belongs(self, pid: int) -> bool:
        """Whether a process has this folder in its environment, its arguments, its directory or its open files."""
        needle = self.folder.encode()
        if pid in _ourselves():
            return False
        if any(needle in read_quietly(f"/proc/{pid}/{name}") for name in ("environ", "cmdline")):
            return True
        return any(path.startswith(self.folder) for path in opened_by(pid))

    def end(self) -> None:
        """KILL all that belongs here until nothing does, whether the tool would have or not."""
        deadline = time.monotonic() + 20
        while left := [pid for pid in pids() if self.belongs(pid)]:
            if time.monotonic() > deadline:
                raise SystemExit(f"these cannot be ended: {left}")
            for pid in left:
                send(pid, signal.SIGKILL, self.belongs)
            time.sleep(0.02)
        if self.foreground is not None:
            self.foreground.wait()

    def _start(self, argv: Sequence[str], out: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            argv,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _on_terminal(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 50, 160, 0, 0))
        # Its controlling terminal, so that Ctrl-C reaches it: setsid(1) --ctty.
        process = subprocess.Popen(
            ["setsid", "--ctty", *argv],
            cwd=self.folder,
            env={**self.environment, "TERM": "xterm-256color"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)
        self.terminals.append(master)
        threading.Thread(target=_copy, args=(master, self.screen), daemon=True).start()
        return process


def _ourselves() -> set[int]:
    return {1, os.getpid(), os.getppid()}


def _copy(master: int, path: str) -> None:
    with open(path, "ab", buffering=0) as screen:
        while True:
            try:
                if select.select([master], [], [], 1.0)[0]:
                    screen.write(os.read(master, 65536))
            except OSError as error:
                # EIO: the last descriptor of the terminal is closed (pty(7)). EBADF: ours is.
                if error.errno in (errno.EIO, errno.EBADF):
                    return
                raise


@contextlib.contextmanager
def place(prefixes: Sequence[str]) -> Iterator[Place]:
    """A place of its own; whatever was started in it is ended, and the folder goes, however this is left."""
    # Short: the path of a unix socket has 107 bytes (unix(7)).
    folder = tempfile.mkdtemp(prefix="cb-")
    for name in ("home", "tmp", "run"):
        os.mkdir(f"{folder}/{name}", 0o700)
    here = Place(folder, environment(folder, prefixes))
    try:
        yield here
    finally:
        here.end()
        for master in here.terminals:
            os.close(master)
        shutil.rmtree(folder, ignore_errors=True)


def environment(folder: str, prefixes: Sequence[str]) -> dict[str, str]:
    """Nothing of the user's: where a tool keeps its files and sockets is below `folder`."""
    return {
        "PATH": search_path(prefixes),
        "LANG": "C.UTF-8",
        "SHELL": "/bin/sh",
        "HOME": f"{folder}/home",
        "TMPDIR": f"{folder}/tmp",
        "XDG_RUNTIME_DIR": f"{folder}/run",
        "PM2_HOME": f"{folder}/pm2",
        "TS_SOCKET": f"{folder}/ts.sock",
        "CORRAL_HOME": f"{folder}/corral",
    }


def search_path(prefixes: Sequence[str]) -> str:
    """Where programs are: beside this Python, then in each prefix, be it a venv or npm's, then where the user has them."""
    # The wrapper in .bin starts the real program as a child; it is the program that has to be signalled.
    below = (f"node_modules/mprocs/mprocs-*-linux-{platform.machine()}*", "bin", "node_modules/.bin")
    found = [Path(sys.executable).parent]
    for prefix in prefixes:
        for pattern in below:
            found += sorted(Path(prefix).absolute().glob(pattern))
    return os.pathsep.join([*map(str, found), os.environ.get("PATH", os.defpath)])
