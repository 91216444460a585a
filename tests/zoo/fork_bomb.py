"""Two hundred processes that ignore TERM and each go on as a child of their own five times a second.

Bounded by itself: a link takes one byte out of a pipe that holds 8,000, and every one dies by alarm(2) 20 s after the
start. Prints `ready` once all two hundred live.
"""

import math
import os
import signal
import time

LINES = 200
LINKS = 8_000
SECONDS = 20
PAUSE = 0.2
START = time.monotonic()

signal.signal(signal.SIGTERM, signal.SIG_IGN)
links, feed = os.pipe()
os.write(feed, b"x" * LINKS)
os.close(feed)
alive, says = os.pipe()


def set_alarm() -> None:
    """A child has none of its parent's (alarm(2))."""
    signal.alarm(max(1, math.ceil(START + SECONDS - time.monotonic())))


def go_on() -> None:
    """Be each link in turn: the child goes on, the parent ends."""
    os.write(says, b"x")
    while os.read(links, 1):
        time.sleep(PAUSE)
        if os.fork() != 0:
            break
        set_alarm()
    os._exit(0)


set_alarm()
for _ in range(LINES):
    if os.fork() == 0:
        set_alarm()
        go_on()
missing = LINES
while missing:
    missing -= len(os.read(alive, missing))
print("ready", flush=True)
time.sleep(SECONDS)
