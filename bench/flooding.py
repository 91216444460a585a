"""A job that writes 100 MB of numbered lines once `TOKEN.go` exists, for `crashes.py`: `python flooding.py TOKEN`.

It appends to TOKEN, which it keeps open: `start PID PARENT` first, `tick N` after each part, `done` after the last. Then it
stays until LIFE is over. Written with bare write(2), so that nothing waits in a buffer of its own.
"""

from __future__ import annotations

import os
import sys
import time

LIFE = 180.0
LINES = 1_000_000
LINE_BYTES = 100
LINES_AT_ONCE = 100


def print_all(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


def main() -> None:
    path = sys.argv[1]
    token = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(token, b"start %d %d\n" % (os.getpid(), os.getppid()))
    deadline = time.monotonic() + LIFE
    while not os.path.exists(f"{path}.go"):
        if time.monotonic() > deadline:
            sys.exit("was never told to go")
        time.sleep(0.02)
    filler = b"x" * (LINE_BYTES - 11)
    for first in range(0, LINES, LINES_AT_ONCE):
        print_all(
            b"".join(b"L%08d %s\n" % (number, filler) for number in range(first, first + LINES_AT_ONCE))
        )
        os.write(token, b"tick %d\n" % (first + LINES_AT_ONCE))
    os.write(token, b"done\n")
    time.sleep(max(0.0, deadline - time.monotonic()))


if __name__ == "__main__":
    main()
