"""Why the bytes of a pipe cannot be shown: the reason, never a guess."""

from __future__ import annotations

import errno
import os

import pytest

from corral.monitor import peek


def refuse(number: int):
    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return refused


def test_what_the_kernel_refuses_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peek, "peek_bytes", refuse(errno.EMFILE))
    assert peek._content(1, 0, 10) == (None, "it cannot be looked into: Too many open files")
    monkeypatch.setattr(peek.os, "readlink", refuse(errno.EACCES))
    assert "runs with other rights than the daemon" in peek._why_not_seen([(41, 0)])


def test_a_pipe_that_is_gone_is_no_pipe_that_is_hidden() -> None:
    assert peek._why_not_seen([]) == "the pipe is gone: both its stages have ended or redirected it"
    assert peek._why_not_seen([(os.getpid(), 10**6)]).startswith("the pipe is gone")


def test_a_system_without_procfs_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peek, "HAS_PROCFS", False)
    assert peek._why_not_seen([(41, 0)]) == "this system does not show the pipes of other processes"
