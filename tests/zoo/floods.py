"""Writes as fast as it can, at most the bytes that its argument says (1 MB without one), and for 60 s at most."""

import os
import signal
import sys
import time

left = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
line = b"all work and no play makes a dull log, and it goes on and on and on\n"
block = line * 1000
deadline = time.monotonic() + 60
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
print("ready", flush=True)
while left > 0 and time.monotonic() < deadline:
    left -= os.write(1, block[:left])
