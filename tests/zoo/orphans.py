"""Has two grandchildren in its own session whose parent died first. All end by themselves after 60 s."""

import os
import time

child = os.fork()
if child == 0:
    for _ in range(2):
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
    os._exit(0)
os.waitpid(child, 0)
print("ready", flush=True)
time.sleep(60)
