"""Reads a line from a terminal of its own on which nobody types. Ends after 60 s."""

import os
import pty
import signal

master, terminal = pty.openpty()
signal.alarm(60)
print("ready", flush=True)
os.read(terminal, 1)
