"""Two threads each hold one lock and wait for the other's; the first thread waits for both. Ends after 60 s."""

import signal
import threading

first, second = threading.Lock(), threading.Lock()
both_hold = threading.Barrier(2)


def take(mine: threading.Lock, theirs: threading.Lock) -> None:
    with mine:
        if both_hold.wait() == 0:
            print("ready", flush=True)
        theirs.acquire()


signal.alarm(60)
threads = [threading.Thread(target=take, args=pair) for pair in ((first, second), (second, first))]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
