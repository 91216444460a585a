"""Programs that wait for another process in a roundabout way, or only look so: `python watchers.py NAME`.

They watch descriptors, look round by a timer, share locks in memory or wait for signals. Every one ends by itself after
120 s. Those of HANGS never go on; those of WORKS only look so, and would.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import cycle

LIFETIME = 120
_SEMAPHORE_SIZE = 32
_SHARED = 1
_SIGSET_SIZE = 128


def _hang() -> None:
    """Read a pipe whose other end is its own."""
    reader, _ = os.pipe()
    os.read(reader, 1)


def _sleep() -> None:
    time.sleep(1000)


def _child(does: Callable[[], object]) -> int:
    pid = os.fork()
    if pid == 0:
        does()
        os._exit(0)
    return pid


def _piped_child(does: Callable[[], object]) -> int:
    """A child that has the writing end of a pipe; the reading end."""
    reader, writer = os.pipe()
    _child(lambda: (os.close(reader), does()))
    os.close(writer)
    return reader


def _watch(*descriptors: int, limit: float = -1) -> None:
    watched = select.epoll()
    for descriptor in descriptors:
        watched.register(descriptor, select.EPOLLIN)
    watched.poll(limit)


def _listening() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def _connected() -> tuple[socket.socket, socket.socket, socket.socket]:
    """A listening socket, a client's and a server's."""
    server = _listening()
    client = socket.create_connection(server.getsockname())
    return server, client, server.accept()[0]


_libc = ctypes.CDLL(None)


def _semaphore() -> object:
    """A semaphore of the C library in memory that children share (sem_init(3))."""
    memory = mmap.mmap(-1, mmap.PAGESIZE)
    semaphore = (ctypes.c_char * _SEMAPHORE_SIZE).from_buffer(memory)
    _libc.sem_init(semaphore, _SHARED, 0)
    return semaphore


def _block(number: signal.Signals) -> ctypes.Array[ctypes.c_char]:
    signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    mask = ctypes.create_string_buffer(_SIGSET_SIZE)
    _libc.sigaddset(mask, number)
    return mask


# ---- never go on --------------------------------------------------------------------------------------------------


def watches_children_that_hang() -> None:
    _watch(_piped_child(_hang), _piped_child(_hang))


def polls_children_that_hang() -> None:
    select.select([_piped_child(_hang), _piped_child(_hang)], [], [])


def watches_a_child_by_pidfd() -> None:
    _watch(os.pidfd_open(_child(_hang)))


def hears_of_its_child_by_signalfd() -> None:
    mask = _block(signal.SIGCHLD)
    descriptor = _libc.signalfd(-1, mask, 0)
    _child(_hang)
    select.select([descriptor], [], [])


def hears_of_its_child_by_signal() -> None:
    _block(signal.SIGCHLD)
    _child(_hang)
    signal.sigwait([signal.SIGCHLD])


def awaits_a_child_in_an_event_loop() -> None:
    import asyncio

    async def wait() -> None:
        child = await asyncio.create_subprocess_exec(sys.executable, __file__, "_hang")
        await child.wait()

    asyncio.run(wait())


def asks_a_silent_server_in_an_event_loop() -> None:
    import asyncio

    async def ask() -> None:
        server = _listening()
        reader, _ = await asyncio.open_connection(*server.getsockname())
        await reader.read()

    asyncio.run(ask())


def awaits_workers_that_hang() -> None:
    """A pool of processes: its threads watch the workers, who wait for a lock."""
    import multiprocessing

    context = multiprocessing.get_context("fork")
    lock = context.Lock()
    lock.acquire()
    with context.Pool(2, initializer=lock.acquire) as pool:
        pool.map(abs, [1, 2])


def waits_for_a_semaphore_of_a_child_that_hangs() -> None:
    semaphore = _semaphore()
    _child(_hang)
    _libc.sem_wait(semaphore)


def looks_round_for_a_child_that_hangs() -> None:
    child = _child(_hang)
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        time.sleep(0.1)


def looks_round_at_a_silent_server() -> None:
    _, client, _ = _connected()
    while not select.select([client], [], [], 0.3)[0]:
        pass


def waits_for_a_child_with_a_limit() -> None:
    """The standard library looks round for it, up to twenty times a second."""
    subprocess.run([sys.executable, "-S", "-E", __file__, "_hang"], check=False, timeout=1000)


def sends_to_a_child_that_sleeps() -> None:
    ours, theirs = socket.socketpair()
    _child(lambda: (ours.close(), _sleep()))
    theirs.close()
    ours.sendall(bytes(1 << 24))


def waits_for_a_stopped_child() -> None:
    child = _child(signal.pause)
    os.kill(child, signal.SIGSTOP)
    os.waitpid(child, 0)


def asks_by_datagram() -> None:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.sendto(b"?", server.getsockname())
    client.recv(1)


HANGS = (
    watches_children_that_hang, polls_children_that_hang, watches_a_child_by_pidfd, hears_of_its_child_by_signalfd,
    hears_of_its_child_by_signal, awaits_a_child_in_an_event_loop, asks_a_silent_server_in_an_event_loop,
    awaits_workers_that_hang, waits_for_a_semaphore_of_a_child_that_hangs, looks_round_for_a_child_that_hangs,
    looks_round_at_a_silent_server, waits_for_a_child_with_a_limit, sends_to_a_child_that_sleeps,
    waits_for_a_stopped_child, asks_by_datagram, _hang,
)  # fmt: skip


# ---- only look so -------------------------------------------------------------------------------------------------


def watches_children_of_which_one_sleeps() -> None:
    _watch(_piped_child(_hang), _piped_child(_sleep))


def watches_clients_that_say_nothing() -> None:
    """A server with idle connections."""
    server, one, other = _connected()
    _watch(server.fileno(), one.fileno(), other.fileno())


def watches_several_servers() -> None:
    """A client with a pool of idle connections."""
    sockets = [_connected() for _ in range(2)]
    _watch(*(client.fileno() for _, client, _ in sockets))


def forks_servers() -> None:
    """Its children accept, and it watches over them."""
    server = _listening()
    select.select([_piped_child(server.accept) for _ in range(2)], [], [])


def awaits_workers_that_sleep() -> None:
    import multiprocessing

    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.map(time.sleep, [1000, 1000])


def waits_for_a_semaphore_of_a_child_that_sleeps() -> None:
    semaphore = _semaphore()
    _child(lambda: (_sleep(), _libc.sem_post(semaphore)))
    _libc.sem_wait(semaphore)


def looks_round_for_a_server_of_its_own() -> None:
    server = _listening()
    child = _child(server.accept)
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        time.sleep(0.1)


def feeds_a_child_now_and_then() -> None:
    """Its child waits for what it will send."""
    reader, writer = os.pipe()
    _child(lambda: (os.close(writer), os.read(reader, 1)))
    os.close(reader)
    while True:
        time.sleep(0.1)


def hears_little_by_socket() -> None:
    """A byte a second, of which no counter of the kernel tells."""
    _, client, server = _connected()

    def speak() -> None:
        while True:
            time.sleep(0.7)
            server.send(b"x")

    threading.Thread(target=speak, daemon=True).start()
    while True:
        if select.select([client], [], [], 0.3)[0]:
            client.recv(1)


def serves_datagrams(ports: range = range(20000, 32000)) -> None:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for port in ports:
        try:
            server.bind(("127.0.0.1", port))
            break
        except OSError:
            continue
    server.recv(1)


def serves_datagrams_by_path() -> None:
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    server.bind(b"\0corral-zoo-%d" % os.getpid())
    server.recv(1)


def hears_the_kernel() -> None:
    """News of the network's interfaces (rtnetlink(7))."""
    news = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    news.bind((0, 1))
    news.recv(1)


def watches_files() -> None:
    os.read(_libc.inotify_init(), 64)


def watches_a_clock() -> None:
    descriptor = _libc.timerfd_create(1, 0)
    _libc.timerfd_settime(descriptor, 0, (ctypes.c_long * 4)(0, 0, 1000, 0), None)
    _watch(descriptor)


def touches_memory_now_and_then() -> None:
    """Reads a file by its pages alone (mmap(2))."""
    with open(sys.executable, "rb") as file:
        pages = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    for place in cycle(range(0, len(pages), mmap.PAGESIZE)):
        _ = pages[place]
        time.sleep(0.1)


def watches_its_wakers() -> None:
    """Another thread of it sleeps, and will wake it."""
    waker = os.eventfd(0) if hasattr(os, "eventfd") else os.pipe()[0]
    threading.Thread(target=_sleep, daemon=True).start()
    _watch(waker)


WORKS = (
    watches_children_of_which_one_sleeps, watches_clients_that_say_nothing, watches_several_servers, forks_servers,
    awaits_workers_that_sleep, waits_for_a_semaphore_of_a_child_that_sleeps, looks_round_for_a_server_of_its_own,
    feeds_a_child_now_and_then, hears_little_by_socket, serves_datagrams, serves_datagrams_by_path, hears_the_kernel,
    watches_files, watches_a_clock, touches_memory_now_and_then, watches_its_wakers,
)  # fmt: skip


if __name__ == "__main__":
    signal.alarm(LIFETIME)
    {program.__name__: program for program in (*HANGS, *WORKS)}[sys.argv[1]]()
