"""Exits at once and leaves a child that keeps its stdout open without writing: a reader sees no EOF for 60 s.

Prints `ready PID`, the pid of that child.
"""

import os
import time

reader, writer = os.pipe()
if os.fork() == 0:
    os.write(writer, b"%d" % os.getpid())
    time.sleep(60)
    os._exit(0)
print("ready", os.read(reader, 20).decode(), flush=True)
