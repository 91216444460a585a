"""Everything about it is meant to harm a screen: its name, its child's, its arguments, the lock it waits for, its output.

`nasty.py LOCKFILE WORDS…`: writes hostile lines to both streams, names itself and a child after control sequences (each
comes with the number 31337 inside), holds the lock in the child and waits for it. Ends by itself after 60 s.
"""

import ctypes
import fcntl
import os
import signal
import sys
import time

SEQUENCES = (
    b"\x1b[31337;1H",
    b"\x1b[?31337h",
    b"\x1b[31337J",
    b"\x1b]0;31337\x07",
    b"\x1b]7;file://31337/\x1b\\",
    b"\x1b]8;;http://31337/\x1b\\link\x1b]8;;\x1b\\",
    b"\x1b]52;c;31337\x07",
    b"\x1bP+q31337\x1b\\",
    b"\x1b_G31337\x1b\\",
    b"\x1b^31337\x1b\\",
    b"\x1bX31337\x1b\\",
    b"\x1b[200~31337\x1b[201~",
    b"\x1b[?1003h\x1b[?1049h31337",
    b"\x9b31337A",
    "\u009b31337A\u009d0;31337\u009c".encode(),
    b"\x1b(031337\x0f",
    b"\x1bc31337",
    b"31337\x07\x08\x7f\x00",
    b"[/] [link=http://31337] [@click=app.quit]",
    "\u202e31337 gnp.exe\u2066\u200f\u061c".encode(),
    "31337\u200b\u2060\ufeff\u00ad\U000e0041".encode(),
    "31337\u2028\u2029\u0085".encode(),
    b"31337" + "\u0301".encode() * 3000,
    "\U0001f1e9\U0001f1ea\U0001f469\u200d\U0001f680\u2764\ufe0f31337".encode(),
    b"\xff\xfe\xc3\x28\xed\xa0\x8031337",
    b"31337\x1b[",
)


def name_this(name: bytes) -> None:
    """PR_SET_NAME: 15 bytes of anything (prctl(2))."""
    ctypes.CDLL(None).prctl(15, name, 0, 0, 0)


def main() -> None:
    signal.alarm(60)
    lock = os.open(os.fsencode(sys.argv[1]), os.O_RDWR | os.O_CREAT, 0o600)
    if os.fork() == 0:
        name_this(b"\x1b]0;31337\x07\x9b7m")
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.write(1, b"".join(sequence + b"\n" for sequence in SEQUENCES))
        os.write(2, b"".join(sequence + b"\r\n" for sequence in SEQUENCES))
        time.sleep(60)
    name_this(b"\x1b[31337;1H[/]")
    again = os.open(os.fsencode(sys.argv[1]), os.O_RDWR)
    while True:
        try:
            fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            break
        fcntl.flock(again, fcntl.LOCK_UN)
    fcntl.flock(again, fcntl.LOCK_EX)


if __name__ == "__main__":
    main()
