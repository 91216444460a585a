"""Writes one line of as many bytes as its argument says (1 MB without one), with a newline at its very end only.

`ready` goes to stdout as a line before it. Takes 60 s at most.
"""

import os
import signal
import sys
import time

left = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
block = b"x" * 65536
deadline = time.monotonic() + 60
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
print("ready", flush=True)
while left > 0 and time.monotonic() < deadline:
    left -= os.write(1, block[:left])
os.write(1, b"\n")
