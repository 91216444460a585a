"""Four chains of processes that each start the next one and live on for a moment: a kill of what was seen misses the rest.

Bounded: a link starts the next after 10 ms and lives 0.4 s, so about 160 and never 200 live at once; none is started after
20 s, nor more than 2,000 a chain. Prints `ready` once each chain has its full length; the first process stays to the end.
"""

import os
import time

CHAINS = 4
PAUSE = 0.01
LIFE = 0.4
SECONDS = 20.0
LINKS = 2000
START = time.monotonic()


def link() -> None:
    """Be each link in turn: the child goes on as the next one, the parent lives out its life."""
    for _ in range(LINKS):
        time.sleep(PAUSE)
        if time.monotonic() - START > SECONDS or os.fork() != 0:
            break
    time.sleep(LIFE)
    os._exit(0)


for _ in range(CHAINS):
    if os.fork() == 0:
        link()
time.sleep(2 * LIFE)
print("ready", flush=True)
time.sleep(SECONDS)
