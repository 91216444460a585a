"""Ignores SIGTERM and sleeps: only KILL ends it early. Ends by itself after 60 s."""

import signal
import time

signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(60)
