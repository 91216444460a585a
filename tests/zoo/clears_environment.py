"""Has a child in a session of its own with nothing in its environment. Both end by themselves after 60 s."""

import os
import sys
import time

SLEEPER = "import os, time; os.write({writer}, b'x'); time.sleep(60)"

reader, writer = os.pipe()
os.set_inheritable(writer, True)
if os.fork() == 0:
    os.setsid()
    os.execve(sys.executable, [sys.executable, "-S", "-E", "-c", SLEEPER.format(writer=writer)], {})
os.read(reader, 1)
print("ready", flush=True)
time.sleep(60)
