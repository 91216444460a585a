"""Calls itself a thread of the kernel, by its argv and by prctl(2). Ends by itself after 60 s."""

import ctypes
import os
import sys
import time

NAME = "kworker/0:1"
PR_SET_NAME = 15

if len(sys.argv) == 1:
    os.execv(sys.executable, [f"[{NAME}]", "-S", "-E", __file__, "renamed"])
ctypes.CDLL(None).prctl(PR_SET_NAME, NAME.encode(), 0, 0, 0)
print("ready", flush=True)
time.sleep(60)
