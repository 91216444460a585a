"""The program of a stand-in: a process that goes ahead of one stage, waits where the daemon must not, and becomes the stage.

It changes its directory, looks for the program and opens the redirections in the order written, as a shell's child does;
says that it is ready, and empties nothing before it is told to go on. Each step that could wait for ever is announced.
The daemon sends the sources of this and of the modules below it along (`corral.platform.spawn.stand_in_launcher`), so that what is on
the disk by now does not matter; none of them imports anything but the standard library.

It ends with the daemon that started it: PR_SET_PDEATHSIG, should it be waiting in the kernel, else by the end of the line.
"""

from __future__ import annotations

import _socket
import errno
import os
import signal

from corral.model.errors import CannotStartError
from corral.platform.files.path_destination import DESCRIPTOR, TERMINAL, destination
from corral.platform.files.redirections import check_own, empty, may_block, open_redirection
from corral.platform.process.prctl import end_with_parent, outlive_parent
from corral.platform.spawn.child_setup import apply_settings
from corral.platform.spawn.executables import check_directory, check_interpreter, find_program, refused

LOOKS, WAITS, READY, FAILED = b"looks", b"waits", b"ready", b"failed"
END = b"\0"
"""Of each message: no path can hold it."""
GO = b"g"
_CLOEXEC = 0x40000000
"""MSG_CMSG_CLOEXEC (linux/socket.h)."""
_MOST_DESCRIPTORS = 3


class StagePlan:
    """What a stand-in is told at its start. A plain dictionary on its way (`marshal`)."""

    def __init__(self, plan: dict[str, object]) -> None:
        self.__dict__.update(plan)

    argv: list[str]
    search_path: str
    cwd: str
    environment: dict[bytes, bytes]
    umask: int
    redirections: list[tuple[int, str, str | None]]
    """(descriptor, mode, path)"""
    given: dict[int, int]
    """Those that are open already: their descriptors by place in the list."""
    inside: dict[str, object]
    """For `giving.apply_settings`."""
    has_terminal: bool


class _Redirection:
    def __init__(self, mode: str, path: str) -> None:
        self.mode, self.path = mode, path


def main(plan: dict[str, object]) -> None:
    """Go ahead. Ends the process, or becomes the program."""
    stage = StagePlan(plan)
    # The line came as stdout, the plan as stdin: neither is the stage's.
    line = _socket.socket(fileno=os.dup(1))
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1):
        os.dup2(null, number)
    end_with_parent(signal.SIGKILL)
    if _has_hung_up(line):
        os._exit(0)
    try:
        program, opened = _prepare(stage, line)
        _say(line, READY)
        table = _wait_for_the_word(line)
        _take_place(stage, opened, table)
        _become(stage, program)
    except CannotStartError as error:
        _say(line, FAILED, str(error.status).encode(), os.fsencode(str(error)))
    except Exception as error:  # noqa: BLE001  (whatever it is has to be told)
        _say(line, FAILED, b"125", f"{type(error).__name__}: {error}".encode("utf-8", "surrogateescape"))
    os._exit(0)


def _has_hung_up(line: _socket.socket) -> bool:
    """The parent may have ended before it was asked to take us along."""
    try:
        return not line.recv(1, _socket.MSG_PEEK | _socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False


def _say(line: _socket.socket, *parts: bytes) -> None:
    """Tell the daemon. Ends where it has gone, or wants no more of it."""
    try:
        line.sendall(b"\n".join(parts).replace(END, b"") + END)
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ECONNRESET):
            raise
        os._exit(0)


# ---- ahead of the word --------------------------------------------------------------------------------------------


def _prepare(stage: StagePlan, line: _socket.socket) -> tuple[str, dict[int, int]]:
    """The program, and the descriptors of the redirections by their place in the list."""

    def announce(path: str) -> None:
        _say(line, LOOKS, os.fsencode(path))

    os.umask(stage.umask)
    announce(stage.cwd)
    check_directory(stage.cwd)
    try:
        os.chdir(stage.cwd)
    except OSError as error:
        raise CannotStartError(f"cannot use the directory {stage.cwd}: {error.strerror}") from None
    program = find_program(stage.argv[0], stage.search_path, stage.cwd, announce)
    announce(program)

    def look_at(path: str) -> None:
        announce(path)
        os.access(path, os.X_OK)

    check_interpreter(program, look_at)
    opened = dict(stage.given)
    for place, (_, mode, path) in enumerate(stage.redirections):
        if path is None or place in opened:
            continue
        whole = os.path.join(stage.cwd, path)
        announce(whole)
        found = destination(whole)
        if found.kind in (DESCRIPTOR, TERMINAL):
            check_own(path, mode, found, has_terminal=stage.has_terminal)
            continue
        if may_block(whole):
            _say(line, WAITS, os.fsencode(whole))
        opened[place] = open_redirection(_Redirection(mode, path), whole, stage.umask)
    return program, opened


# ---- after it -----------------------------------------------------------------------------------------------------


def _wait_for_the_word(line: _socket.socket) -> list[int]:
    """What the stage's descriptors 0, 1 and 2 are before its redirections."""
    word, ancillary, _, _ = line.recvmsg(1, _socket.CMSG_SPACE(4 * _MOST_DESCRIPTORS), _CLOEXEC)
    if not word:
        # Should the daemon have died between mark and word, this must not look like a stage that has succeeded.
        signal.raise_signal(signal.SIGKILL)
    received: list[int] = []
    for _, _, data in ancillary:
        received += memoryview(data).cast("i")
    if len(received) != _MOST_DESCRIPTORS:
        # The kernel leaves out what does not fit into our table (unix(7)).
        raise CannotStartError("the stage's descriptors did not arrive")
    for descriptor in received:
        os.set_inheritable(descriptor, False)
    return received


def _take_place(stage: StagePlan, opened: dict[int, int], table: list[int]) -> None:
    """Empty what is to be emptied, and have the stage's descriptors, limits and share of the machine."""
    if stage.has_terminal:
        import fcntl
        import termios

        fcntl.ioctl(table[0], termios.TIOCSCTTY, 0)
    terminal = table[0]
    for place, (number, mode, path) in enumerate(stage.redirections):
        if path is None:
            table[number] = table[1]
        elif place in opened:
            table[number] = opened[place]
            if mode == "write":
                empty(opened[place])
        else:
            found = destination(os.path.join(stage.cwd, path))
            table[number] = terminal if found.kind == TERMINAL else table[found.number]
    for number, descriptor in enumerate(table):
        os.dup2(descriptor, number)


def _become(stage: StagePlan, program: str) -> None:
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        apply_settings(stage.inside)
    except CannotStartError as error:
        raise CannotStartError(f"{stage.argv[0]}: {error}", error.status) from None
    outlive_parent()
    try:
        os.execve(program, stage.argv, stage.environment)  # noqa: S606  (that is what it is for)
    except (OSError, ValueError) as error:
        raise refused(error, stage.argv[0]) from None
