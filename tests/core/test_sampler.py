from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from corral.measure.machine import MachineSampler
from corral.measure.sampler import ProcessSampler, with_last_counters
from corral.platform.host.procfs import read_stat
from corral.platform.process.cpu_clock import cpu_nanoseconds
from corral.platform.process.identity import ProcessIdentity, identify
from until import python, running, until

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="/proc/PID/io is Linux")


def known(pid: int) -> ProcessIdentity:
    identity = identify(pid)
    assert identity is not None
    return identity


def test_busy_process_gains_cpu_time_and_holds_memory():
    with running(*python("while True: pass")) as process:
        sampler, identity = ProcessSampler(), known(process.pid)

        def is_busy() -> bool:
            usage = sampler.usage(identity)
            return usage is not None and usage.cpu_seconds > 0.05

        until(is_busy, "the loop to have used CPU")
        usage = sampler.usage(identity)
        assert usage is not None
        assert usage.memory_bytes > 1_000_000
        assert usage.threads == 1
        assert usage.state in "RS"


def test_threads_are_counted():
    code = "import threading, sys\nfor _ in range(3): threading.Thread(target=sys.stdin.read).start()"
    with running(*python(code), stdin=subprocess.PIPE) as process:
        sampler, identity = ProcessSampler(), known(process.pid)
        until(lambda: (u := sampler.usage(identity)) and u.threads == 4, "four threads")


@LINUX
def test_bytes_through_a_pipe_are_counted():
    code = "import os\nos.write(1, b'x' * 5000)\nos.read(0, 1)"
    with running(*python(code), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        sampler, identity = ProcessSampler(), known(process.pid)
        until(lambda: (u := sampler.usage(identity)) and u.written_bytes == 5000, "5000 bytes written")


def test_zombie_and_gone_process_have_no_usage():
    with running("true") as process:
        sampler, identity = ProcessSampler(), known(process.pid)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert sampler.usage(identity) is None
        process.wait()
        assert sampler.usage(identity) is None


def test_reused_pid_is_a_stranger():
    mine = known(os.getpid())
    other = ProcessIdentity(mine.pid, mine.started + 1)
    assert ProcessSampler().usage(other) is None
    assert ProcessSampler().usage(mine) is not None


def test_cpu_time_that_went_back_asks_for_the_identity_again(monkeypatch):
    sampler, mine = ProcessSampler(), known(os.getpid())
    assert sampler.usage(mine) is not None
    stranger = ProcessIdentity(mine.pid, mine.started + 1)
    sampler._handles[stranger] = sampler._handles[mine]
    sampler._cpu_seconds[stranger] = 1e9
    assert sampler.usage(stranger) is None
    assert stranger not in sampler._handles


def test_only_what_used_cpu_has_moved():
    with running(*python("import os\nos.write(1, b'r')\nwhile os.read(0, 1): sum(range(200000))"),
                 stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.read(1)
        sampler, identity = ProcessSampler(), known(process.pid)
        until(lambda: (u := sampler.usage(identity)) and u.state == "S", "it to wait for input")
        before = cpu_nanoseconds(process.pid)
        assert before is not None
        assert sampler.moved(identity, before) is False
        process.stdin.write(b"x")
        process.stdin.flush()
        until(lambda: sampler.moved(identity, before), "it to have used CPU")
    assert sampler.moved(identity, before) is None


def test_handles_are_dropped():
    sampler, mine = ProcessSampler(), known(os.getpid())
    sampler.usage(mine)
    sampler.forget_all_but({mine})
    assert mine in sampler._handles
    sampler.forget_all_but(set())
    assert not sampler._handles
    sampler.forget(mine)


def test_stopped_process_shows_its_letter():
    with running("sleep", "30") as process:
        sampler, identity = ProcessSampler(), known(process.pid)
        process.send_signal(signal.SIGSTOP)
        until(lambda: (u := sampler.usage(identity)) and u.state == "T", "state T")


def test_machine_has_plausible_numbers_and_a_bounded_past():
    sampler = MachineSampler()
    for _ in range(70):
        machine = sampler.sample()
    assert 0 <= machine.cpu_percent <= 100
    assert machine.cores == os.cpu_count()
    assert 0 < machine.memory_used_bytes < machine.memory_total_bytes
    assert len(machine.cpu_past) == len(machine.memory_past) == 60
    assert machine.cpu_past[-1] == machine.cpu_percent


def test_the_counters_of_a_process_that_has_ended_are_still_read_until_it_is_reaped() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read(); sys.stdout.write('x' * 5000)"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    identity = identify(child.pid)
    assert identity is not None
    before = ProcessSampler().usage(identity)
    assert before is not None
    child.stdin.close()
    assert len(child.stdout.read()) == 5000
    until(lambda: (stat := read_stat(child.pid)) is not None and stat.state == "Z", "the child to have ended")
    after = with_last_counters(before, child.pid)
    child.wait()
    child.stdout.close()
    assert after.written_bytes is not None
    assert before.written_bytes is not None
    assert after.written_bytes >= before.written_bytes + 5000
