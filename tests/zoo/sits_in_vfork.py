"""Waits in vfork(2), state D, for a child that never comes to its exec: both have to be killed.

posix_spawn(3) blocks every signal in the child until its exec, and before that the child waits for a FIFO that nobody
opens. A third process opens it after 60 s, and the child becomes `true`.
"""

import os
import tempfile
import time

with tempfile.TemporaryDirectory() as directory:
    path = os.path.join(directory, "fifo")
    os.mkfifo(path)
    # It has no name any more; open(2) through /proc finds it all the same.
    fifo = f"/proc/self/fd/{os.open(path, os.O_PATH)}"

if os.fork() == 0:
    while True:
        with open(f"/proc/{os.getppid()}/stat") as stat:
            if stat.read().rpartition(")")[2].split()[0] == "D":
                break
        time.sleep(0.01)
    print("ready", flush=True)
    time.sleep(60)
    os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
    os._exit(0)
os.posix_spawn("/bin/true", ["true"], {}, file_actions=[(os.POSIX_SPAWN_OPEN, 0, fifo, os.O_RDONLY, 0)])
