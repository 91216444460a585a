"""The relay of a job with `--output pipe`: from the pipes that are its stdout and stderr to the files of its output.

A program of its own, read from stdin by `python -I -S - FOLDER PIPE:FILE…`, so that it needs nothing that an upgrade
could replace meanwhile. It belongs to no job and ends at the end of all its pipes. Where a file takes nothing (ENOSPC)
it waits, and with it whoever writes.

read(2) and write(2) with one buffer took less time than splice(2), which moves single pages and refuses files that are
open for appending; appending keeps the file whole if somebody else empties it.
"""

import posix
import select
import sys
import time

BUFFER_SIZE = 256 << 10
RETRY_SECONDS = 0.25
NAME = b"corral-relay"
WAITING = b"relay: no room"
"""What `ps` and a diagnosis call it, at most 15 bytes (proc(5): comm)."""


def main(routes: list[str]) -> None:
    """Copy until the end of every pipe."""
    posix.setsid()
    call_itself(NAME)
    sinks = {}
    poller = select.poll()
    for route in routes:
        source, sink = map(int, route.split(":"))
        sinks[source] = sink
        poller.register(source, select.POLLIN)
    buffer = memoryview(bytearray(BUFFER_SIZE))
    while sinks:
        for source, _ in poller.poll():
            count = posix.readv(source, [buffer])
            if count:
                write(sinks[source], buffer[:count])
                continue
            poller.unregister(source)
            posix.close(source)
            del sinks[source]  # the files stay open: their lock says that this is at work


def write(sink: int, data: memoryview) -> None:
    """All of it, however long that takes; unless the file is deleted, and nobody will read it."""
    is_waiting = False
    while data:
        try:
            data = data[posix.write(sink, data) :]
        except OSError:
            if not posix.fstat(sink).st_nlink:
                return
            if not is_waiting:
                is_waiting = True
                call_itself(WAITING)
            time.sleep(RETRY_SECONDS)
    if is_waiting:
        call_itself(NAME)


def call_itself(name: bytes) -> None:
    try:
        descriptor = posix.open("/proc/self/comm", posix.O_WRONLY)
    except OSError:
        return
    posix.write(descriptor, name)
    posix.close(descriptor)


if __name__ == "__main__":
    main(sys.argv[2:])
    posix._exit(0)
