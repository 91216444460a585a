"""A program on a terminal of its own, whose screen is only counted, not read."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Sequence
from typing import Self

from common import environment


class OnTerminal:
    """Runs a program on a new pty of 160×50 and takes in what it paints, in a thread. A context manager."""

    def __init__(self, argv: Sequence[str], home: str | None = None) -> None:
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 50, 160, 0, 0))
        self.began = time.perf_counter()
        self._process = subprocess.Popen(
            argv,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**environment(home), "TERM": "xterm-256color", "COLORTERM": "truecolor"},
            start_new_session=True,
        )
        os.close(slave)
        self._painted = bytearray()
        self._times: list[tuple[int, float]] = []
        self._thread = threading.Thread(target=self._take_in, daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def seconds_until(self, text: bytes, patience: float = 30.0) -> float:
        """From the start until it had painted `text`."""
        deadline = time.perf_counter() + patience
        while time.perf_counter() < deadline:
            at = self._painted.find(text)
            if at >= 0:
                return next(when for size, when in self._times if size > at) - self.began
            time.sleep(0.002)
        raise TimeoutError(f"{text!r} was not painted within {patience:g} s")

    def seconds_from(self, keys: bytes, text: bytes, patience: float = 30.0) -> float:
        """From the writing of `keys` until it had painted `text` after that."""
        start, began = len(self._painted), time.perf_counter()
        self.type(keys)
        while time.perf_counter() < began + patience:
            at = self._painted.find(text, start)
            if at >= 0:
                return next(when for size, when in self._times if size > at) - began
            time.sleep(0.002)
        raise TimeoutError(f"{text!r} was not painted within {patience:g} s of {keys!r}")

    @property
    def painted_bytes(self) -> int:
        return len(self._painted)

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def _take_in(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:
                # EIO: its last descriptor of the terminal is closed (pty(7)).
                return
            if not data:
                return
            self._painted += data
            self._times.append((len(self._painted), time.perf_counter()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._thread.join(5)
        os.close(self._master)
