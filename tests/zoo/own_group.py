"""Has a child in a process group of its own: a kill of the group misses it. Both end by themselves after 60 s."""

import os
import time

reader, writer = os.pipe()
if os.fork() == 0:
    os.setpgid(0, 0)
    os.write(writer, b"x")
    time.sleep(60)
    os._exit(0)
os.read(reader, 1)
print("ready", flush=True)
time.sleep(60)
