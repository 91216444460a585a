"""Ends its first thread and goes on in another: it reads as a zombie and is none (pthread_exit(3)). Ends after 60 s."""

import ctypes
import threading
import time


def go_on() -> None:
    threading.main_thread().join(0.05)
    print("ready", flush=True)
    time.sleep(60)


threading.Thread(target=go_on).start()
ctypes.CDLL(None).pthread_exit(None)
