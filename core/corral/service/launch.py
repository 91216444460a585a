"""The program of the daemon: `python -m corral.service.launch HOME REPORT_FD [private SOCKET_FD PARALLEL]`.

It detaches (double fork, setsid), puts every inherited oddity back to normal, tells the starter how it went on the
report pipe, and serves. With `resume LOCK_FD LISTENER_FD GENERATION` in place of `private …` it goes on where the daemon
was that this very process has been until now.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Collection

_NORMAL_STREAMS = 3


def main(arguments: list[str]) -> int:
    """The background daemon. Returns its exit status; the intermediate processes never return."""
    path, report = arguments[0], int(arguments[1])
    if arguments[2:3] == ["resume"]:
        lock, listener, generation = map(int, arguments[3:6])
        return _resume(path, report, lock, listener, generation)
    private = arguments[2:]
    kept = {report}
    if private:
        kept.add(int(private[1]))
    _detach()
    _close_all_but(kept)
    for descriptor in kept:
        os.set_inheritable(descriptor, False)
    _send_streams_to_log(path)
    normalise()
    _be_ordinary()
    from corral.service.daemon import run_background, run_private

    if private:
        return run_private(path, report, int(private[1]), int(private[2]) or None)
    return run_background(path, report)


def _resume(path: str, report: int, lock: int, listener: int, generation: int) -> int:
    """Take what the daemon before handed over; nothing else of it stays open."""
    from corral.service.resuming import read_table, run_resumed
    from corral.system.replacing import HELD
    from corral.values.home import Home

    found = read_table(Home(path))
    kept = {report, lock, listener} | (set() if isinstance(found, str) else found.descriptors)
    _close_all_but(kept)
    for descriptor in kept:
        os.set_inheritable(descriptor, False)
    normalise(HELD)
    return run_resumed(Home(path), report, lock, listener, generation, found)


def _detach() -> None:
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    os.chdir("/")


def _close_all_but(kept: set[int]) -> None:
    """Descriptors that the starter leaked, of a shell or an editor say, would stay open for as long as we live."""
    listing = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
    for descriptor in map(int, os.listdir(listing)):
        if descriptor >= _NORMAL_STREAMS and descriptor not in kept:
            try:
                os.close(descriptor)
            except OSError:
                continue  # EBADF: the descriptor of the listing itself


def _send_streams_to_log(path: str) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    if null > 0:
        os.close(null)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    log = os.open(os.path.join(path, "daemon.log"), flags, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if log > 2:
        os.close(log)


def normalise(held: Collection[signal.Signals] = ()) -> None:
    """Take off what this process inherited and every job would inherit from it. The signals `held` go on waiting.

    Under an ignored SIGCHLD Popen.wait() returns 0 whatever the child did (wait(2)), and an ignored SIGHUP (nohup)
    would reach every job.
    """
    from corral.system import limits, mark, memory, ordinary

    for number in signal.valid_signals():
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            try:
                signal.signal(number, signal.SIG_DFL)
            except (OSError, ValueError):
                continue  # the C library keeps 32 and 33 for itself (nptl(7))
    # Python wants a broken pipe and a file that is too long (the ulimit -f of the shell that we were started from) as
    # errors, EPIPE and EFBIG, not as its end; Popen gives children the default back.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)
    ordinary.heed_internal_signals()
    signal.pthread_sigmask(signal.SIG_SETMASK, held)
    for name in ("CORRAL_JOB_ID", "CORRAL_STAGE"):
        os.environ.pop(name, None)
    # Whatever a job's own files are to allow is set on them; ours are nobody else's.
    os.umask(0o077)
    mark.take_off()
    memory.give_back_at_once()
    limits.raise_own()
    limits.raise_soft_fsize()


def _be_ordinary() -> None:
    """Take off what the shell that happened to be first wanted for its command. A service manager means the daemon itself."""
    from corral.system import ordinary, scheduling, standing

    scheduling.be_ordinary()
    standing.be_ordinary()
    ordinary.forget_personality()


def ensure_utf8() -> None:
    """Begin this program again in Python's UTF-8 mode (PEP 540), pid and descriptors kept, where the locale has another encoding.

    Clients of every locale send their bytes as UTF-8 (`corral.values.wire`). Here they must become those bytes again.
    """
    if sys.getfilesystemencoding() != "utf-8":
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606


if __name__ == "__main__":
    ensure_utf8()
    sys.exit(main(sys.argv[1:]))
