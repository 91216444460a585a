"""Stops itself with SIGSTOP. Continued, it ends; a child of it continues it after 60 s, and ends with it before."""

import os
import select
import signal
import sys

me = os.getpid()
alive, keeps_open = os.pipe()
if os.fork() == 0:
    os.close(keeps_open)
    if not select.select([alive], [], [], 60)[0]:
        os.kill(me, signal.SIGCONT)
    os._exit(0)
print("ready", flush=True)
os.kill(me, signal.SIGSTOP)
sys.exit(0)
