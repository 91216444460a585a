"""What a client that has launched a daemon waits for: its report, as long as it tells that it goes on."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from corral.client.start_daemon import Launched, await_report
from corral.model.errors import DaemonUnavailableError
from corral.model.home import Home
from corral.platform.files.descriptors import unnamed_file


def launched(words: Sequence[bytes], pause: float) -> tuple[Launched, threading.Thread]:
    """A daemon that says these, each after a pause."""
    reader, writer = os.pipe()
    child = os.posix_spawnp("true", ["true"], os.environ)

    def say() -> None:
        for word in words:
            time.sleep(pause)
            os.write(writer, word)

    thread = threading.Thread(target=say)
    thread.start()
    return Launched("python", child, reader, unnamed_file("said")), thread


def test_a_daemon_that_goes_on_is_waited_for(tmp_path: Path) -> None:
    daemon, thread = launched([b" "] * 5 + [b"ready\n"], 0.2)
    await_report(daemon, Home(str(tmp_path)), 0.8)
    thread.join()


def test_one_that_says_nothing_is_not(tmp_path: Path) -> None:
    daemon, thread = launched([], 0)
    with pytest.raises(DaemonUnavailableError, match="did not start within"):
        await_report(daemon, Home(str(tmp_path)), 0.05)
    thread.join()
