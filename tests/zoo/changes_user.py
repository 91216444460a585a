"""Becomes the user `nobody`, as root may, in a session of its own below a parent that stays root. Ends after 60 s."""

import os
import time

NOBODY = 65534

reader, writer = os.pipe()
if os.fork() == 0:
    os.setsid()
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    os.write(writer, b"x")
    time.sleep(60)
    os._exit(0)
os.read(reader, 1)
print("ready", flush=True)
time.sleep(60)
