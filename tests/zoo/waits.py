"""Programs that wait, each in one way: `python waits.py NAME`. Every one ends by itself after 120 s.

Those of HANGS never go on; those of WORKS only look so, and would.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path

LIFETIME = 120
DO_NOTHING = [sys.executable, "-c", "import signal; signal.alarm(120); signal.sigwait([signal.SIGUSR1])"]


def _temporary() -> str:
    return tempfile.mkstemp(prefix="corral-zoo-")[1]


# ---- never go on --------------------------------------------------------------------------------------------------


def reads_terminal() -> None:
    _, slave = pty.openpty()
    os.read(slave, 1)


def _in_background_of_a_terminal(act: Callable[[], object]) -> None:
    """A session of its own with a terminal, and in it a process outside the foreground group."""
    pid, _ = pty.fork()
    if pid:
        os.waitpid(pid, 0)
        return
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        act()
        os._exit(0)
    os.waitpid(child, 0)


def reads_terminal_from_background() -> None:
    _in_background_of_a_terminal(lambda: os.read(0, 1))


def sets_terminal_from_background() -> None:
    def change() -> None:
        termios.tcsetattr(0, termios.TCSANOW, termios.tcgetattr(0))

    _in_background_of_a_terminal(change)


def stops_itself() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def polls_its_input() -> None:
    select.select([0], [], [])


def opens_fifo_to_read() -> None:
    path = _temporary()
    os.unlink(path)
    os.mkfifo(path)
    os.open(path, os.O_RDONLY)


def opens_fifo_to_write() -> None:
    path = _temporary()
    os.unlink(path)
    os.mkfifo(path)
    os.open(path, os.O_WRONLY)


def reads_its_own_pipe() -> None:
    reader, _ = os.pipe()
    os.read(reader, 1)


def fills_its_own_pipe() -> None:
    _, writer = os.pipe()
    while True:
        os.write(writer, bytes(65536))


def talks_to_a_child_that_talks_back() -> None:
    """The classic of subprocess: both write, nobody reads."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        child.stdin.write(bytes(1 << 22))


def waits_for_a_child_that_reads_from_it() -> None:
    """It keeps the writing end of its child's input open, and waits for the child."""
    reader, _ = os.pipe()
    subprocess.run(["cat"], stdin=reader, check=False)


def waits_for_a_child_that_hangs() -> None:
    subprocess.run([sys.executable, __file__, "locks_twice"], check=False)


def waits_for_a_lock_of_its_parent() -> None:
    path = _temporary()
    held = os.open(path, os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)
    child = os.fork()
    if child == 0:
        os.close(held)
        fcntl.flock(os.open(path, os.O_RDWR), fcntl.LOCK_EX)
        os._exit(0)
    os.waitpid(child, 0)


def locks_two_files_crosswise() -> None:
    """Two children, two files, each has one and wants the other. The kernel sees it with fcntl(2), not with flock(2)."""
    paths = [_temporary(), _temporary()]
    ready = [os.pipe(), os.pipe()]
    for own in (0, 1):
        if os.fork() == 0:
            fcntl.flock(os.open(paths[own], os.O_RDWR), fcntl.LOCK_EX)
            os.write(ready[own][1], b"x")
            os.read(ready[1 - own][0], 1)
            fcntl.flock(os.open(paths[1 - own], os.O_RDWR), fcntl.LOCK_EX)
            os._exit(0)
    os.wait()


def wants_lock() -> None:
    """The file is its argument; somebody else has locked it."""
    fcntl.flock(os.open(sys.argv[2], os.O_RDWR), fcntl.LOCK_EX)


def wants_record_lock() -> None:
    fcntl.lockf(os.open(sys.argv[2], os.O_RDWR), fcntl.LOCK_EX)


def tries_a_lock() -> None:
    file = os.open(sys.argv[2], os.O_RDWR)
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(0.1)


def threads_wait_for_each_other() -> None:
    subprocess_free = threading.Lock(), threading.Lock()
    both = threading.Barrier(2)

    def take(mine: threading.Lock, other: threading.Lock) -> None:
        with mine:
            both.wait()
            other.acquire()

    threading.Thread(target=take, args=subprocess_free, daemon=True).start()
    take(*reversed(subprocess_free))


def _mutex() -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(64)


def mutexes_crosswise() -> None:
    library, both = ctypes.CDLL(None), threading.Barrier(2)
    first, second = _mutex(), _mutex()

    def take(mine: object, other: object) -> None:
        library.pthread_mutex_lock(mine)
        both.wait()
        library.pthread_mutex_lock(other)

    threading.Thread(target=take, args=(second, first), daemon=True).start()
    take(first, second)


def locks_twice() -> None:
    library, mutex = ctypes.CDLL(None), _mutex()
    library.pthread_mutex_lock(mutex)
    library.pthread_mutex_lock(mutex)


def _listening(backlog: int = 8) -> socket.socket:
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(backlog)
    return server


def reads_silent_socket() -> None:
    server = _listening()
    client = socket.create_connection(server.getsockname())
    client.recv(1)


def polls_silent_socket() -> None:
    server = _listening()
    client = socket.create_connection(server.getsockname())
    select.select([client], [], [])


def asks_a_child_that_does_not_answer() -> None:
    """The other end of its socket is a child that itself waits for a file lock it will not get."""
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        locks_twice()
    theirs.close()
    ours.recv(1)


def sends_to_who_does_not_read() -> None:
    ours, _theirs = socket.socketpair()
    ours.sendall(bytes(1 << 24))


def connects_in_vain() -> None:
    """A queue of connections that is full: the kernel drops what comes (listen(2))."""
    server = _listening(0)
    kept = []
    for _ in range(4):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(server.getsockname())
        kept.append(one)
    time.sleep(0.2)
    socket.create_connection(server.getsockname())


def connects_in_vain_to_unix_socket() -> None:
    server = socket.socket(socket.AF_UNIX)
    server.bind("")  # Linux gives it an abstract address (unix(7)).
    server.listen(0)
    kept = [socket.socket(socket.AF_UNIX) for _ in range(3)]
    for one in kept:
        one.connect(server.getsockname())


def waits_in_vfork() -> None:
    """Its child stands still before it becomes another program, and the parent with it (vfork(2))."""
    path = _temporary()
    os.unlink(path)
    os.mkfifo(path)
    subprocess.Popen(["/bin/sh", "-c", f"exec cat < {path}"]).wait()


HANGS = (
    reads_terminal, reads_terminal_from_background, sets_terminal_from_background, stops_itself, polls_its_input,
    opens_fifo_to_read, opens_fifo_to_write, reads_its_own_pipe, fills_its_own_pipe, talks_to_a_child_that_talks_back,
    waits_for_a_child_that_reads_from_it, waits_for_a_child_that_hangs, waits_for_a_lock_of_its_parent,
    locks_two_files_crosswise, wants_lock, wants_record_lock, tries_a_lock, threads_wait_for_each_other, mutexes_crosswise,
    locks_twice, reads_silent_socket, polls_silent_socket, asks_a_child_that_does_not_answer,
    sends_to_who_does_not_read, connects_in_vain, connects_in_vain_to_unix_socket, waits_in_vfork,
)  # fmt: skip


# ---- only look so -------------------------------------------------------------------------------------------------


def computes() -> None:
    while True:
        sum(range(2000))
        time.sleep(0.02)


def reads_large_file() -> None:
    with open(sys.executable, "rb") as file:
        while True:
            file.seek(0)
            while file.read(1 << 20):
                time.sleep(0.05)


def has_a_grandchild_that_works() -> None:
    subprocess.run(["/bin/sh", "-c", f"{sys.executable} {__file__} computes; :"], check=False)


def sleeps_and_works() -> None:
    while True:
        time.sleep(1000)


def accepts() -> None:
    _listening().accept()


def accepts_with_idle_workers() -> None:
    """A pool: the first thread accepts, the others wait for work."""
    work = threading.Semaphore(0)
    for _ in range(3):
        threading.Thread(target=work.acquire, daemon=True).start()
    accepts()


def serves_in_another_thread() -> None:
    """The first thread waits for the one that serves."""
    thread = threading.Thread(target=accepts)
    thread.start()
    thread.join()


def runs_an_event_loop() -> None:
    import asyncio

    async def serve() -> None:
        server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        await server.serve_forever()

    asyncio.run(serve())


def polls_two_sockets() -> None:
    select.select([_listening(), _listening()], [], [])


def wakes_now_and_then() -> None:
    server = _listening()
    while True:
        select.select([server], [], [], 0.5)


def waits_for_an_event_with_a_limit() -> None:
    threading.Event().wait(1000)


def waits_for_a_server_of_its_own() -> None:
    subprocess.run([sys.executable, __file__, "accepts"], check=False)


def builds() -> None:
    """Short children come and go."""
    while True:
        subprocess.run(["true"], check=False)
        time.sleep(0.4)


def waits_for_a_signal() -> None:
    signal.sigwait([signal.SIGUSR1])


def reads_timerfd() -> None:
    library = ctypes.CDLL(None)
    descriptor = library.timerfd_create(1, 0)
    # struct itimerspec: no interval, the first time in 1,000 s (timerfd_create(2)).
    library.timerfd_settime(descriptor, 0, (ctypes.c_long * 4)(0, 0, 1000, 0), None)
    os.read(descriptor, 8)


def waits_for_a_lock_that_a_child_will_give_back() -> None:
    path = _temporary()
    reader, writer = os.pipe()
    if os.fork() == 0:
        fcntl.flock(os.open(path, os.O_RDWR), fcntl.LOCK_EX)
        os.write(writer, b"x")
        time.sleep(1000)
    os.read(reader, 1)
    fcntl.flock(os.open(path, os.O_RDWR), fcntl.LOCK_EX)


def reads_slowly() -> None:
    while os.read(0, 4096):
        time.sleep(0.5)


WORKS = (
    computes, reads_large_file, has_a_grandchild_that_works, sleeps_and_works, accepts, accepts_with_idle_workers,
    serves_in_another_thread, runs_an_event_loop, polls_two_sockets, wakes_now_and_then,
    waits_for_an_event_with_a_limit, waits_for_a_server_of_its_own, builds, waits_for_a_signal, reads_timerfd,
    waits_for_a_lock_that_a_child_will_give_back, reads_slowly,
)  # fmt: skip


if __name__ == "__main__":
    signal.alarm(LIFETIME)
    os.chdir(Path(tempfile.gettempdir()))
    {program.__name__: program for program in (*HANGS, *WORKS)}[sys.argv[1]]()
