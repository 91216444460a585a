"""The guard of the one function that sends signals, where it can fail: as an ordinary user, and with pids used again."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from corral.platform.host.procfs import read_stat
from corral.platform.process import mark
from corral.platform.process.identity import ProcessIdentity, identify
from corral.platform.process.kinship import Kinship
from corral.platform.process.signalling import KILL, RefusedSignalError, Signaller
from e2e.users import as_ordinary_user, his_folder

__all__ = ["his_folder"]

HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(mark.why_not() is not None, reason=f"no marks here: {mark.why_not()}")


@pytest.mark.skipif(os.geteuid() != 0, reason="this suite runs as an ordinary user as it is")
def test_the_guards_hold_for_an_ordinary_user(his_folder: Path) -> None:
    """As root some of them cannot fail: it reads every mark and may signal everybody."""
    told = subprocess.run(
        [
            *(
                *as_ordinary_user(),
                sys.executable,
                "-m",
                "pytest",
                "-o",
                "addopts=",
                "-p",
                "no:cacheprovider",
            ),
            *(
                "-p",
                "no:hypothesispytest",
                "--rootdir",
                str(HERE.parent.parent),
                str(HERE / "test_signalling.py"),
            ),
        ],
        env={
            **os.environ,
            "HOME": str(his_folder),
            "TMPDIR": str(his_folder),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        cwd=HERE.parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert re.search(r"\b[1-9]\d passed", told.stdout), told.stdout
    assert "skipped" not in told.stdout, told.stdout


def namespaces() -> tuple[str, ...] | None:
    """How to get a pid namespace of one's own; None where the system does not let us."""
    for way in (("-pf", "--mount-proc"), ("-Urpf", "--mount-proc")):
        argv = ("unshare", *way)
        try:
            probe = subprocess.run(
                [*argv, "test", "-w", "/proc/sys/kernel/ns_last_pid"], capture_output=True, check=False
            )
        except FileNotFoundError:
            return None
        if probe.returncode == 0:
            return argv
    return None


def test_a_pid_that_was_used_again_is_never_signalled() -> None:
    argv = namespaces()
    if argv is None:
        pytest.skip("no pid namespace to be had; test_signalling.py fakes the identity instead")
    done = subprocess.run(
        [*argv, sys.executable, str(HERE / "reuse_probe.py")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert "pid" in found
    for way, cases in found.items():
        assert cases == {
            "reused": ["ended", True],
            "unmarked": ["carries no mark of this home", True],
            "another job": ["is a process of another job", True],
            "another home": ["carries no mark of this home", True],
            "own session": ["is in Corral's own session", True],
            "without marks": ["ended", True],
            "counted": [[], True],
            "marked again": ["ended", "ended", *["carries no mark of this home"] * 4],
            "marked again, in the same tick": ["carries no mark of this home"] * 6,
            "init": ["pid 1 is never signalled", True],
        }, way


def kernel_thread() -> ProcessIdentity | None:
    stat = read_stat(2)
    return identify(2) if stat is not None and stat.name == "kthreadd" else None


def test_a_thread_of_the_kernel_is_never_signalled() -> None:
    target = kernel_thread()
    if target is None:
        pytest.skip("no thread of the kernel to be seen from here")
    for signaller in (Signaller(77), Signaller(None)):
        for kin in (None, Kinship(5, {os.getpid()}, {os.getpid()}, {os.getpid()}, "/a home")):
            with pytest.raises(RefusedSignalError):
                signaller.send(target, KILL, kin=kin)
