"""What is lacking when a system call fails for want of something, in words that name it and what helps."""

from __future__ import annotations

import errno
import resource

_WORDS = {
    errno.ENOSPC: "no space left on the disk; free some",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EFBIG: "the file is as large as the limit of the process allows (ulimit -f)",
    errno.EIO: "the disk failed (input/output error); the system's log says more",
    errno.ENFILE: "the whole system has no file descriptors left (fs.file-max)",
    errno.EAGAIN: "no more processes for this user or this control group; end some, or raise the limit (ulimit -u)",
    errno.ENOMEM: "no memory left; end something that uses much",
    errno.ENOBUFS: "no memory left for sockets; end something that uses much",
}
_NO_THREAD = (
    "no more threads for this user or this control group; end some processes, or raise the limit (ulimit -u)"
)
_RESOURCES = frozenset({*_WORDS, errno.EMFILE})


def is_shortage(error: BaseException) -> bool:
    """Whether an error says that something is used up: disk, descriptors, processes, memory. Nobody's fault here."""
    if isinstance(error, OSError):
        return error.errno in _RESOURCES
    return isinstance(error, MemoryError) or _is_about_threads(error)


def explanation(error: BaseException) -> str:
    """What is lacking and what helps, where it is a shortage; else what the error says of itself."""
    if isinstance(error, MemoryError):
        return _WORDS[errno.ENOMEM]
    if _is_about_threads(error):
        return _NO_THREAD
    if not isinstance(error, OSError):
        return str(error)
    if error.errno == errno.EMFILE:
        return no_descriptors()
    return _WORDS.get(error.errno or 0) or error.strerror or str(error)


def _is_about_threads(error: BaseException) -> bool:
    """What `threading.Thread.start` raises where pthread_create(3) failed with EAGAIN."""
    return isinstance(error, RuntimeError) and "start new thread" in str(error)


def no_descriptors() -> str:
    """What is said where this process cannot open anything more."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return (
        f"the daemon has no file descriptors left (its limit is {limit}); end some jobs, or corral daemon stop"
        " --jobs leave and start it from a shell with a higher ulimit -Hn"
    )
