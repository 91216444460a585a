"""Waits for what the kernel passes on: file systems in user space, debuggers, semaphores of System V, frozen ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from reliability.programs.cases import Line, Place, hangs, looks_so, until

OWN_FILE_SYSTEM = Path(__file__).resolve().parents[2] / "tests" / "zoo" / "file_system.py"


def _unmount(folder: Path) -> None:
    subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)


def _bindfs(place: Place) -> tuple[Path, subprocess.Popen[bytes]]:
    below, above = place.folder / "below", place.folder / "above"
    below.mkdir()
    above.mkdir()
    (below / "file").write_text("x" * 10_000)
    place.afterwards(_unmount, above)
    server = place.start("bindfs", "-f", "-o", "attr_timeout=0,entry_timeout=0", below, above)
    until(lambda: os.path.ismount(above), "the file system to be mounted")
    return above, server


def _stopped(server: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGSTOP)
    until(
        lambda: Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T",
        "it to stop",
    )


@hangs(
    "bindfs: its server is stopped",
    "bindfs",
    says=r"cat waits for the file system .*above \(fuse.*bindfs \(\d+\).*suspended",
)
def bindfs_stopped(place: Place) -> Line:
    above, server = _bindfs(place)
    _stopped(server)
    return ["cat", str(above / "file")]


@hangs(
    "ls: its server is stopped",
    "bindfs",
    says=r"ls waits for the file system .*above \(fuse.*bindfs \(\d+\).*suspended",
)
def bindfs_ls(place: Place) -> Line:
    above, server = _bindfs(place)
    _stopped(server)
    return ["ls", "-l", str(above)]


@hangs(
    "python: a file system that does not answer",
    says=r"cat waits for the file system .*mounted \(fuse.*python\S* \(\d+\)",
)
def own_file_system(place: Place) -> Line:
    folder = place.folder / "mounted"
    folder.mkdir()
    place.afterwards(_unmount, folder)
    server = place.start(
        sys.executable, OWN_FILE_SYSTEM, folder, "frozen", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert server.stdout is not None
    server.stdout.readline()
    return ["cat", str(folder / "file")]


@hangs("gdb: holds it", "gdb", says=r"sleep is held by the debugger gdb \(\d+\)")
def gdb_holds(place: Place) -> Line:
    attach = (
        "until [ -s pid ]; do sleep 0.1; done; exec gdb -q -batch -nx -p $(cat pid) -ex 'shell sleep 1000'"
    )
    place.start("sh", "-c", attach)
    return ["sh", "-c", "echo $$ > pid; exec sleep 1000"]


@hangs("gdb: at its prompt", "gdb", says=r"gdb waits for somebody to type", pty=True)
def gdb_prompt(place: Place) -> Line:
    return ["gdb", "-q", "-nx", "-ex", "starti", "--args", "sleep", "1000"]


@hangs(
    "perl: semop", "perl", says=r"perl waits for the semaphore 0 .*perl \(\d+\) changed last", any_health=True
)
def perl_semop(place: Place) -> Line:
    make = "$i=semget(0,1,0600|512);$|=1;semop($i,pack('s3',0,1,0));print \"$i\\n\";sleep 1000"
    holder = place.start("perl", "-e", make, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    number = holder.stdout.readline().decode().strip()
    place.afterwards(lambda: subprocess.run(["ipcrm", "-s", number], check=False))
    return ["perl", "-e", f"semop({number},pack('s3',0,-2,0))"]


@hangs("kill -STOP: a tool that was stopped", says=r"sha256sum was stopped by a signal")
def stopped(place: Place) -> Line:
    return ["sh", "-c", "sha256sum /dev/zero & sleep 0.3; kill -STOP $!; wait"]


@looks_so("bindfs: reads slowly", "bindfs")
def bindfs_reads(place: Place) -> Line:
    above, _ = _bindfs(place)
    return ["sh", "-c", f"while :; do cat {above}/file > /dev/null; sleep 1; done"]


@looks_so("bindfs: serves", "bindfs")
def bindfs_serves(place: Place) -> Line:
    below, above = place.folder / "below", place.folder / "above"
    below.mkdir()
    above.mkdir()
    place.afterwards(_unmount, above)
    return ["bindfs", "-f", str(below), str(above)]


@looks_so("gdb: runs a program", "gdb")
def gdb_runs(place: Place) -> Line:
    return ["gdb", "-q", "-batch", "-nx", "-ex", "run", "--args", "sleep", "1000"]
