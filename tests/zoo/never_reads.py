"""Never reads its stdin, but keeps it open: whoever writes to it fills the pipe and waits. Ends after 60 s."""

import time

print("ready", flush=True)
time.sleep(60)
