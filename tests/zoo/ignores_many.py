"""Ignores TERM, INT and HUP and sleeps: only KILL ends it early. Ends by itself after 60 s."""

import signal
import time

for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(60)
