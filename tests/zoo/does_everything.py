"""Ignores TERM, INT and HUP, and starts one of each of its neighbours in this zoo that tries to get away."""

import os
import signal
import subprocess
import sys
import time

NEIGHBOURS = (
    "ignores_many",
    "orphans",
    "own_session",
    "own_group",
    "double_fork",
    "clears_environment",
    "renames_itself",
    "stops_itself",
    "sits_in_vfork",
    "first_thread_ends",
    "keeps_pipe",
    "forks_while_killed",
)

for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
children = []
for name in NEIGHBOURS:
    argv = [sys.executable, "-S", "-E", os.path.join(os.path.dirname(__file__), f"{name}.py")]
    children.append(subprocess.Popen(argv, stdout=subprocess.PIPE, close_fds=False))
for child in children:
    child.stdout.readline()
print("ready", flush=True)
time.sleep(60)
