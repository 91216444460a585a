"""Making an ordinary background process of what a client started: detached, without anything that was inherited."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Collection

from corral.platform.host import malloc
from corral.platform.process import inherited_state, mark
from corral.platform.spawn import credentials, resource_limits, scheduling

_NORMAL_STREAMS = 3


def become_background(path: str, kept: Collection[int]) -> None:
    """Detach, with the log of the home `path` as output. Only the descriptors `kept` stay open.

    The intermediate processes never return.
    """
    _detach()
    close_all_but(kept)
    _send_streams_to_log(path)
    normalise()
    _reset_scheduling()


def _detach() -> None:
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    os.chdir("/")


def close_all_but(kept: Collection[int]) -> None:
    """Close what the starter leaked, from a shell or an editor for example; `kept` is not inherited by our children."""
    listing = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
    for descriptor in map(int, os.listdir(listing)):
        if descriptor >= _NORMAL_STREAMS and descriptor not in kept:
            try:
                os.close(descriptor)
            except OSError:
                continue  # EBADF: the descriptor of the listing itself
    for descriptor in kept:
        os.set_inheritable(descriptor, False)


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
    """Reset what this process inherited and every job would inherit from it. The signals `held` stay blocked.

    Under an ignored SIGCHLD Popen.wait() returns 0 whatever the child did (wait(2)), and an ignored SIGHUP (nohup)
    would reach every job.
    """
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
    inherited_state.reset_internal_signals()
    signal.pthread_sigmask(signal.SIG_SETMASK, held)
    for name in ("CORRAL_JOB_ID", "CORRAL_STAGE"):
        os.environ.pop(name, None)
    # Whatever a job's own files are to allow is set on them; ours are nobody else's.
    os.umask(0o077)
    mark.remove_own()
    malloc.return_freed_memory()
    resource_limits.raise_own()
    resource_limits.raise_soft_fsize()


def _reset_scheduling() -> None:
    """Drop priorities meant for the client's command. In the foreground they are meant for the daemon."""
    scheduling.be_ordinary()
    credentials.be_ordinary()
    inherited_state.reset_personality()


def ensure_utf8() -> None:
    """Restart this program in Python's UTF-8 mode (PEP 540) if the locale has another encoding. Keeps pid and descriptors.

    Clients of every locale send their bytes as UTF-8 (`corral.model.wire`). Here they must become those bytes again.
    """
    if sys.getfilesystemencoding() != "utf-8":
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606
