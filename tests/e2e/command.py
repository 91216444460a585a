"""The real command as another program: what it prints, what it exits with, what it leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import forkserver

ARGV = (sys.executable, "-m", "corral_tui.main")
TIMEOUT = 30
"""Seconds that one command may take."""


class Corral:
    """The command with one CORRAL_HOME. Calling it runs it to its end; what it prints comes back as text."""

    def __init__(self, home: Path, directory: Path) -> None:
        self.home = home
        self.directory = directory
        kept = ("PATH", "LANG", "LC_ALL", "VIRTUAL_ENV", "PYTHONPATH", "TMPDIR")
        self.environment = {name: os.environ[name] for name in kept if name in os.environ}
        self.environment |= {
            "CORRAL_HOME": os.fspath(home),
            "HOME": os.fspath(directory),
            "TERM": "xterm-256color",
        }
        self.argv = ARGV

    def __call__(self, *words: str, env: dict[str, str] | None = None, **options: Any) -> Any:
        """Run `corral words…`; a `subprocess.CompletedProcess` with text streams. stdin is null unless given."""
        settings = {
            "timeout": TIMEOUT,
            "cwd": self.directory,
            "env": self.environment | (env or {}),
            "text": True,
        }
        return forkserver.run([*self.argv, *words], **(settings | options))

    def start(self, *words: str, **options: Any) -> subprocess.Popen[bytes]:
        """`corral words…` in the background; the test waits for its end."""
        settings: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "cwd": self.directory,
            "env": self.environment,
        }
        return forkserver.popen([*self.argv, *words], **(settings | options))

    def ok(self, *words: str, **options: Any) -> str:
        """Run it, see that it exits with 0 and says nothing on stderr, and return its stdout without the last newline."""
        ended = self(*words, **options)
        assert (ended.returncode, ended.stderr) == (0, ""), (words, ended)
        return str(ended.stdout).removesuffix("\n")

    def processes(self) -> list[int]:
        """Every process of this home: the daemon, and whatever has it in its environment."""
        wanted = os.fsencode(self.home)
        return [
            int(entry)
            for entry in os.listdir("/proc")
            if entry.isdigit() and int(entry) != os.getpid() and _belongs(entry, wanted)
        ]


def _belongs(pid: str, home: bytes) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False  # ended meanwhile
    return home in command or b"CORRAL_HOME=" + home in environment


def read_all(stream: IO[bytes] | None) -> bytes:
    """What a finished program wrote."""
    assert stream is not None
    with stream:
        return stream.read()
