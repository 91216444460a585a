"""Closes its stdin before its end, so that who writes to it gets SIGPIPE, and sleeps. Ends after 60 s."""

import os
import time

os.close(0)
print("ready", flush=True)
time.sleep(60)
