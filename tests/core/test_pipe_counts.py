"""What is said to have gone through a pipe, against what did, for real programs."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from pathlib import Path

import pytest

from corral.measure.pipe_flow import Moved, PipeFlow
from corral.measure.sampler import bytes_transferred
from corral.monitor.pipe_watch import moves_elsewhere
from corral.platform.files.pipes import fill_and_capacity
from corral.platform.host.procfs import HAS_PROCFS
from corral.platform.process.cpu_clock import cpu_nanoseconds
from managers import eventually_so, opened, python
from until import running, until

pytestmark = pytest.mark.skipif(not HAS_PROCFS, reason="bytes are counted by /proc/PID/io")

SIZE = 3 << 20
"""What goes through each pipe."""
STARTING = 1 << 20
"""What a program may read on its way to its work: its libraries and locale."""
WRITES_AND_STAYS = python(f"import os, signal; os.write(1, bytes({SIZE})); signal.pause()")


def pipelines(file: Path, copy: Path) -> dict[str, tuple[list[list[str]], int]]:
    """By name the stages, and how many bytes too many may be told of the pipe between them."""
    cat, shell = ["cat", str(file)], lambda line: ["sh", "-c", line]
    return {
        "both do nothing else": ([cat, ["cat"]], 0),
        "dd": ([["dd", f"if={file}", "bs=64k", "status=none"], ["dd", "of=/dev/null", "status=none"]], 0),
        "a writer that also writes a file": ([shell(f"exec tee {copy} < {file}"), ["cat"]], STARTING),
        "a reader that also reads a file": ([cat, ["cmp", "-", str(file)]], 0),
        "a reader with temporary files": ([cat, ["sort", "-S1M"]], 0),
        "a reader that also writes a file": ([cat, ["tee", f"{copy}.2"]], 0),
        "a shell whose children write": ([shell(f"head -c 1M {file}; tail -c +1048577 {file}"), ["cat"]], 0),
        "a shell whose children read": ([cat, shell("head -c 1M > /dev/null; cat > /dev/null")], 0),
        "both also move a file": ([shell(f"exec tee {copy}.3 < {file}"), ["cmp", "-", str(file)]], 2 * SIZE),
    }


async def test_numbers_of_pipes_are_bounds(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"one line of a file that is sorted, too\n" * (SIZE // 39) + b"x" * (SIZE % 39))
    cases = pipelines(file, tmp_path / "copy")
    async with opened() as manager:
        child_at_work = await manager.start(
            f"{shlex.join(['sh', '-c', shlex.join(WRITES_AND_STAYS) + '; true'])} | cat"
        )
        handles = {
            name: await manager.start(" | ".join(map(shlex.join, stages)))
            for name, (stages, _) in cases.items()
        }
        for name, handle in handles.items():
            job = await handle.wait()
            (pipe,) = job.pipes
            assert job.state == "succeeded", (name, job.reason)
            assert pipe.bytes_total is not None, name
            assert SIZE <= pipe.bytes_total <= SIZE + cases[name][1], (name, pipe.bytes_total - SIZE)
            assert not pipe.exact, name

        async def told_while_it_runs() -> bool:
            (pipe,) = (await child_at_work.snapshot()).pipes
            assert not pipe.exact
            return pipe.bytes_total == SIZE

        await eventually_so(told_while_it_runs, "what a child of the shell wrote to be counted")


def test_who_could_move_bytes_elsewhere(tmp_path):
    file = tmp_path / "file"
    file.touch()
    with running(
        "sleep", "60", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as only:
        assert only.stdout is not None
        link = os.readlink(f"/proc/self/fd/{only.stdout.fileno()}")
        until(lambda: os.readlink(f"/proc/{only.pid}/exe").endswith("sleep"), "the exec")
        assert not moves_elsewhere([only.pid], [link], writes=True)
        assert moves_elsewhere([only.pid], ["pipe:[0]"], writes=True)
        with (
            file.open("wb") as sink,
            running("sleep", "60", stdin=subprocess.DEVNULL, stdout=only.stdout, stderr=sink) as other,
        ):
            until(lambda: os.readlink(f"/proc/{other.pid}/exe").endswith("sleep"), "the other exec")
            assert moves_elsewhere([only.pid, other.pid], [link], writes=True)
            assert not moves_elsewhere([only.pid, other.pid], [link, str(file)], writes=True)
    assert moves_elsewhere([only.pid], [link], writes=True)


SPLICES = (
    "import os, time\n"
    "zero, left = os.open('/dev/zero', 0), int(os.environ['LEFT'])\n"
    "while left:\n"
    "    left -= os.splice(zero, 1, min(left, 65536)); time.sleep(0.001)\n"
)


def test_bytes_that_no_counter_has_are_counted_by_the_other_side():
    """A writer that splices, into `cat`: what the monitor does each second, done as often as can be."""
    size, nowhere = 1 << 25, subprocess.DEVNULL
    environment = {**os.environ, "LEFT": str(size)}
    with (
        running(*python(SPLICES), stdin=nowhere, stdout=-1, stderr=nowhere, env=environment) as writer,
        running("cat", stdin=writer.stdout, stdout=nowhere, stderr=nowhere) as reader,
    ):
        assert writer.stdout is not None
        link = os.readlink(f"/proc/self/fd/{writer.stdout.fileno()}")
        writer.stdout.close()
        flow = PipeFlow(1)

        def look(*, runs: bool = True) -> bool:
            told = []
            for process in (writer, reader):
                counted = bytes_transferred(process.pid)
                assert counted is not None
                told.append(Moved(*counted, (cpu_nanoseconds(process.pid) or 0) / 1e9))
            seen = fill_and_capacity(reader.pid, 0) or (0, None)
            flow.observe(time.monotonic(), *told, *seen, writer_runs=runs, reader_runs=runs)
            return flow.suspect == "writer"

        until(look, "the writer to be suspected")
        assert not moves_elsewhere([reader.pid], [link], writes=False)
        flow.distrust_counter("writer")
        for process in (writer, reader):
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        look(runs=False)
        total = flow.pipe().bytes_total
        assert total is not None
        assert size <= total <= size + STARTING
        assert not flow.pipe().exact
