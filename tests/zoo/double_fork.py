"""Forks twice with a new session between, as daemons do, and goes on: the orphan has neither its group nor its parent.

Prints `ready PID`, the pid of the orphan. Both end by themselves after 60 s. With an argument it exits at once
instead and leaves the orphan behind.
"""

import os
import sys
import time

reader, writer = os.pipe()
child = os.fork()
if child == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(writer, b"%d" % os.getpid())
        time.sleep(60)
    os._exit(0)
orphan = os.read(reader, 20).decode()
os.waitpid(child, 0)
print("ready", orphan, flush=True)
if len(sys.argv) == 1:
    time.sleep(60)
