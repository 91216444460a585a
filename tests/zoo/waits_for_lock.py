"""Waits for a lock on a file (its argument, else a temporary one) that a child of it holds. Both end after 60 s."""

import fcntl
import os
import select
import sys
import tempfile

path = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkstemp()[1]
alive, keeps_open = os.pipe()
reader, writer = os.pipe()
if os.fork() == 0:
    os.close(keeps_open)
    held = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(held, fcntl.LOCK_EX)
    os.write(writer, b"x")
    select.select([alive], [], [], 60)
    os._exit(0)
os.read(reader, 1)
wanted = os.open(path, os.O_RDWR)
if len(sys.argv) == 1:
    os.unlink(path)
print("ready", flush=True)
fcntl.flock(wanted, fcntl.LOCK_EX)
