"""Programs that are hard to end, one habit each, for `survivors.py`: `python misbehaving.py HABIT TOKEN`.

Every process of a program keeps TOKEN open, so that it is found whatever else it does: by that open file, through fork
and exec, without a look at parents, groups, sessions or the environment. `ready` is appended to TOKEN when all of the
program stands. All are bounded: in number of processes, and in time (LIFE).
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

LIFE = 90.0
BOMB = 200
CHAINS = 4
PAUSE = 0.02
LINK_LIFE = 0.2


def hold(path: str) -> int:
    token = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.set_inheritable(token, True)
    return token


def ignore(*numbers: signal.Signals) -> None:
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)


def rest() -> None:
    time.sleep(LIFE)
    os._exit(0)


def below(*steps: Callable[[], object]) -> None:
    """Leave a grandchild that takes these steps and stays; return once it has. Its parent stays too, and obeys TERM."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        if os.fork() == 0:
            for step in steps:
                step()
            os.write(writer, b".")
            rest()
        rest()
    os.read(reader, 1)


def daemonize(then: Callable[[], object]) -> None:
    """Leave an orphan in a session of its own, as daemon(3) does; return once it stands."""
    reader, writer = os.pipe()
    middle = os.fork()
    if middle == 0:
        os.setsid()
        if os.fork() == 0:
            os.chdir("/")
            os.write(writer, b".")
            then()
        os._exit(0)
    os.waitpid(middle, 0)
    os.read(reader, 1)


def without_environment() -> None:
    os.execve(sys.executable, [sys.executable, "-SEc", f"import time; time.sleep({LIFE})"], {})


def bomb() -> None:
    """Every process forks as fast as it can, until BOMB of them live: each fork takes one byte out of a full pipe."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.write(writer, b"." * (BOMB - 1))
    deadline = time.monotonic() + LIFE
    leader = os.getpid()
    while time.monotonic() < deadline:
        try:
            os.read(reader, 1)
        except BlockingIOError:
            if os.getpid() == leader:
                return
            rest()
        os.fork()


def chain(deadline: float) -> None:
    """Be each link in turn: the child goes on as the next one, the parent lives out its life."""
    while time.monotonic() < deadline:
        time.sleep(PAUSE)
        if os.fork() != 0:
            break
    time.sleep(LINK_LIFE)
    os._exit(0)


def chains() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for _ in range(CHAINS):
        if os.fork() == 0:
            chain(time.monotonic() + LIFE)


def stop_itself(token: int) -> None:
    os.write(token, b"ready\n")
    os.kill(os.getpid(), signal.SIGSTOP)
    rest()


TERM, INT, HUP = signal.SIGTERM, signal.SIGINT, signal.SIGHUP
HABITS: dict[str, Callable[[int], object]] = {
    "ignores TERM": lambda _: ignore(TERM),
    "grandchild": lambda _: below(),
    "grandchild in its own session": lambda _: below(os.setsid),
    "double-forked daemon": lambda _: daemonize(rest),
    "stopped (SIGSTOP)": stop_itself,
    "grandchild that ignores TERM": lambda _: below(lambda: ignore(TERM)),
    "ignores TERM, INT and HUP": lambda _: ignore(TERM, INT, HUP),
    "daemon without environment": lambda _: daemonize(without_environment),
    "fork bomb of 200": lambda _: bomb(),
    "forks on while it is ended": lambda _: chains(),
}


def main() -> None:
    habit, path = sys.argv[1:]
    token = hold(path)
    HABITS[habit](token)
    os.write(token, b"ready\n")
    rest()


if __name__ == "__main__":
    main()
