"""Becomes the program named after it while holding a lock on a file: `holds_lock.py FILE PROGRAM ARGUMENT...`.

The lock is of the open file, which every descendant inherits (flock(2)): whoever can take it knows that all are gone,
and `/proc/PID/fd` tells who has it.
"""

import fcntl
import os
import sys

descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
os.set_inheritable(descriptor, True)
os.execv(sys.argv[2], sys.argv[2:])
