"""Has a grandchild in a session of its own, whose parent lives: a kill of the process group misses it.

Prints `ready PID`, the pid of the grandchild. Both end by themselves after 60 s.
"""

import os
import time

reader, writer = os.pipe()
if os.fork() == 0:
    grandchild = os.fork()
    if grandchild == 0:
        os.setsid()
        os.write(writer, b"%d" % os.getpid())
        time.sleep(60)
        os._exit(0)
    os.waitpid(grandchild, 0)
    os._exit(0)
print("ready", os.read(reader, 20).decode(), flush=True)
time.sleep(60)
