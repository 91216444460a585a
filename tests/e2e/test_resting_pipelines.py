"""A pipeline in which nothing moves is not measured again and again, and is when it goes on."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

import forkserver
from corral.platform.host.procfs import HAS_PROCFS
from e2e.daemons import Daemons, job, start
from until import until

pytestmark = pytest.mark.skipif(not HAS_PROCFS, reason="pipes are seen from outside on Linux only")
COUNTING = """
import sys
from corral.monitor import pipe_watch; from corral.monitor import monitor
from corral.daemon.main import run_foreground
from corral.model.home import Home
log = open(sys.argv[2], "w", buffering=1)

def counted(letter, call):
    def counts(*arguments):
        log.write(letter)
        log.flush()
        return call(*arguments)
    return counts

monitor.SLEEPY_AFTER = 1.5
monitor.Monitor.tick = counted("t", monitor.Monitor.tick)
pipe_watch.PipeWatch.follow = counted("f", pipe_watch.PipeWatch.follow)
sys.exit(run_foreground(Home(sys.argv[1])))
"""
"""A daemon that notes each of its passes, and each measurement of pipes."""


def test_a_pipeline_at_rest_is_left_alone_until_it_moves(tmp_path: Path) -> None:
    log, gate = tmp_path / "log", tmp_path / "gate"
    os.mkfifo(gate)
    daemons = Daemons(tmp_path / "home")
    process = forkserver.popen([sys.executable, "-c", COUNTING, daemons.home.path, os.fspath(log)])
    try:
        until(lambda: os.path.exists(daemons.home.socket) and daemons.listens(), "the daemon to listen")
        with daemons.client(start=False) as client:
            line = f"sh -c 'echo a; read go < {gate}; echo bb; read go < {gate}' | cat"
            (number,) = start(client, line)
            until(lambda: "f" in log.read_text(), "its pipe to be measured")
            until(lambda: log.read_text().endswith("tt"), "its pipe to be left alone")
            assert job(client, number).pipes[0].bytes_total == 2
            gate.write_text("go\n")
            until(lambda: job(client, number).pipes[0].bytes_total == 5, "what moved to be seen")
    finally:
        daemons.end()
        process.send_signal(signal.SIGTERM)
        process.wait()
