"""Output that is bounded by --max-output: the daemon killed while it drops, a full disk, writers as fast as they can.

    python -m reliability capped [--kills 100] [--seed 1] [--gigabytes 4] [--only crash|full|pace]

Prints what was injected, how often, and what was lost; exits 1 if anything was. `full` mounts a small tmpfs, and an ext4
where loop devices are to be had, in a mount namespace of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from corral.client.blocking import Client
from corral.output.reader import OutputFile
from corral.platform.files import hole_punching
from corral.protocol import requests as p
from corral.runner.output_cap import NOTABLE_GROWTH, slack_of
from e2e.daemons import Daemons, job, start, wait
from reliability import itself
from until import python, until

LINE = b"%063d\n"
PACED = """
import os, time
line = 0
while line < {lines}:
    data = b"".join(b"%063d\\n" % number for number in range(line, line + 1024))
    while data:
        try:
            data = data[os.write(1, data):]
        except OSError:
            time.sleep(0.01)  # ENOSPC: until there is room again
    line += 1024
    time.sleep({pause})
"""
BLOCKS = """
import os, time
block = b"x" * {size}
for _ in range({bursts}):
    for _ in range({blocks}):
        os.write(1, block)
    time.sleep({pause})
"""


class Lost(AssertionError):
    """Bytes are gone that were not counted, or something was read that nobody wrote."""


def check_kept(path: str, cap: int) -> tuple[int, int]:
    """(dropped, size): what is kept are the newest lines, each as it was written. Raises Lost."""
    with OutputFile(path) as file:
        chunk = file.read(0, 1 << 30)
    if chunk.dropped and len(chunk.data) < cap:
        raise Lost(f"{path}: {len(chunk.data)} bytes kept, of which {cap} were promised")
    first, rest = chunk.offset // 64, len(chunk.data) // 64
    if chunk.offset % 64 or chunk.data[: rest * 64] != b"".join(LINE % n for n in range(first, first + rest)):
        raise Lost(f"{path}: what is kept from {chunk.offset} on is not what was written")
    return chunk.dropped, chunk.end


# ---- the daemon is killed -----------------------------------------------------------------------------------------


def crash(folder: Path, kills: int, seed: int) -> str:
    """SIGKILL at random moments while four jobs write 16 to 60 MB/s each under caps of 64 KiB to 4 MiB."""
    dice = random.Random(seed)
    daemons = Daemons(folder / "home")
    caps = [64 << 10, 256 << 10, 1 << 20, 4 << 20]
    before = [0] * len(caps)
    try:
        with daemons.client() as client:
            code = PACED.format(lines=1 << 40, pause=0.001)
            ids = [start(client, list(python(code)), max_output=cap)[0] for cap in caps]
        paths = [daemons.home.stdout(each) for each in ids]
        for _ in range(kills):
            with daemons.client():
                time.sleep(dice.uniform(0.0, 0.4))
            daemons.signal(signal.SIGKILL)
            for number, (path, cap) in enumerate(zip(paths, caps, strict=True)):
                dropped, _ = check_kept(path, cap)
                if dropped < before[number]:
                    raise Lost(
                        f"{path}: {before[number]} bytes were dropped, and now {dropped} are said to be"
                    )
                before[number] = dropped
        with daemons.client() as client:
            client.call(p.StopJobs(all=True, wait=True), timeout=30)
            ended = wait(client, *ids)
            for each, path, cap in zip(ended, paths, caps, strict=True):
                dropped, size = check_kept(path, cap)
                if (each.stdout_bytes, each.stdout_dropped_bytes) != (size, dropped):
                    raise Lost(f"{path}: {dropped} of {size} dropped, but the journal says {each}")
                limit = cap + slack_of(cap) + hole_punching.BLOCK
                until(lambda path=path, limit=limit: on_disk(path) <= limit, "the last hole")  # type: ignore[misc]
    finally:
        daemons.end()
    return f"the daemon killed {kills} times, {sum(before) >> 20} MiB dropped by 4 jobs: lost 0"


def on_disk(path: str) -> int:
    return os.stat(path).st_blocks * 512


# ---- the disk is full ---------------------------------------------------------------------------------------------


def full(folder: Path) -> str:
    """In a mount namespace of our own, so that nothing is left mounted."""
    inner = itself("capped", "--only", "full-inside", "--folder", os.fspath(folder))
    rights = [] if os.geteuid() == 0 else ["--map-root-user"]
    done = subprocess.run(
        ["unshare", "--mount", *rights, *inner], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Lost(done.stdout + done.stderr)
    return done.stdout.strip()


def full_inside(folder: Path) -> str:
    lines = []
    for kind in ("tmpfs", "ext4"):
        place = folder / kind
        place.mkdir()
        if not mounted(kind, place):
            lines.append(f"{kind}: cannot be mounted here, left out")
            continue
        try:
            lines.append(f"{kind}: {fill_up(place)}")
        finally:
            subprocess.run(["umount", place], check=True)
    return "\n".join(lines)


def mounted(kind: str, place: Path) -> bool:
    if kind == "tmpfs":
        argv = ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", os.fspath(place)]
    else:
        image = place.with_suffix(".img")
        with image.open("wb") as file:
            file.truncate(40 << 20)
        made = subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], capture_output=True, check=False)
        argv = (
            ["mount", "-o", "loop", os.fspath(image), os.fspath(place)] if not made.returncode else ["false"]
        )
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def fill_up(place: Path) -> str:
    """A job writes 64 MiB under a cap of 4 MiB to a disk that is filled to its last block before it reaches the cap."""
    cap, lines = 4 << 20, 1 << 20
    daemons = Daemons(place / "home")
    try:
        with daemons.client() as client:
            (each,) = start(client, list(python(PACED.format(lines=lines, pause=0.01))), max_output=cap)
            path = daemons.home.stdout(each)
            until(lambda: os.path.getsize(path) > cap // 2, "half of the cap")
            with contextlib.suppress(OSError), (place / "ballast").open("wb") as ballast:
                # Room for the job to pass its cap, and not a block more.
                while os.statvfs(place).f_bavail * os.statvfs(place).f_frsize > cap:
                    ballast.write(bytes(64 << 10))
                    ballast.flush()
            low = fullest(place, lambda: job(client, each).is_ended)
            (ended,) = wait(client, each)
            dropped, size = check_kept(path, cap)
            if (ended.state, size) != ("succeeded", lines * 64):
                raise Lost(f"{ended.state} after {size} bytes: {ended.reason}")
    finally:
        (place / "ballast").unlink(missing_ok=True)
        daemons.end()
    return f"{size >> 20} MiB written through at most {low} free bytes, {dropped >> 20} MiB dropped: lost 0"


def fullest(place: Path, is_over: Callable[[], bool]) -> int:
    """Keep the disk full, to its last block now and then; the least that was free."""
    least = 1 << 40
    with contextlib.suppress(OSError), (place / "ballast").open("ab", buffering=0) as ballast:
        while not is_over():
            found = os.statvfs(place)
            least = min(least, found.f_bavail * found.f_frsize)
            if least > 64 << 10:
                ballast.write(bytes(32 << 10))
            time.sleep(0.01)
        return least
    until(is_over, "the job to end on the full disk")
    return 0


# ---- as fast as it goes -------------------------------------------------------------------------------------------


@dataclass
class Seen:
    """What was seen of a file: the most that it took of the disk, and its fastest growth over 50 ms, a second."""

    most: int = 0
    fastest: float = 0.0


@contextlib.contextmanager
def watched(path: str) -> Iterator[Seen]:
    """Look at a file every 3 ms meanwhile."""
    seen, over = Seen(), threading.Event()

    def watch() -> None:
        past: deque[tuple[float, int]] = deque()
        while not over.wait(0.003):
            try:
                found = os.stat(path)
            except FileNotFoundError:
                continue
            seen.most = max(seen.most, found.st_blocks * 512)
            past.append((time.monotonic(), found.st_size))
            while past[-1][0] - past[0][0] > 0.05:
                at, size = past.popleft()
                seen.fastest = max(seen.fastest, (past[-1][1] - size) / (past[-1][0] - at))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def pace(folder: Path, gigabytes: float) -> str:
    """Writers at full speed: what stands on the disk beyond the cap, at most."""
    blocks = int(gigabytes * 1024)
    kinds = {
        "steady": BLOCKS.format(size=1 << 20, bursts=1, blocks=blocks, pause=0),
        "in bursts": BLOCKS.format(size=1 << 20, bursts=5, blocks=blocks // 8, pause=1.3),
    }
    daemons = Daemons(folder / "home")
    lines = []
    try:
        with daemons.client() as client:
            lines += [
                one_pace(daemons, client, name, code, cap)
                for name, code in kinds.items()
                for cap in (64 << 20, 1 << 30)
            ]
    finally:
        daemons.end()
    return "\n".join(lines)


def one_pace(daemons: Daemons, client: Client, name: str, code: str, cap: int) -> str:
    (each,) = start(client, list(python(code)), max_output=cap)
    path = daemons.home.stdout(each)
    with watched(path) as seen:
        (ended,) = wait(client, each)
    excess = max(0, seen.most - cap)
    if ended.stdout_bytes - ended.stdout_dropped_bytes < min(cap, ended.stdout_bytes):
        raise Lost(f"{name}: of {ended.stdout_bytes} bytes {ended.stdout_dropped_bytes} were dropped")
    if excess > slack_of(cap) + NOTABLE_GROWTH + 1.1 * seen.fastest:
        raise Lost(f"{name}: {excess >> 20} MiB beyond a cap of {cap >> 20} MiB")
    client.call(p.RemoveJobs(ids=(each,)), timeout=30)
    milliseconds = 1000 * max(0.0, excess - slack_of(cap)) / max(1.0, seen.fastest)
    return (
        f"{name}, up to {seen.fastest / 1e9:.1f} GB/s, cap {cap >> 20} MiB: at most {excess >> 20} MiB beyond it, "
        f"what it writes in {milliseconds:.0f} ms and the slack of {slack_of(cap) >> 20} MiB"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--gigabytes", type=float, default=4.0)
    parser.add_argument("--only", choices=["crash", "full", "pace", "full-inside"])
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    given = parser.parse_args()
    runs: dict[str, Callable[[Path], str]] = {
        "crash": lambda folder: crash(folder, given.kills, given.seed),
        "full": full,
        "pace": lambda folder: pace(folder, given.gigabytes),
    }
    if given.only == "full-inside":
        runs = {"full-inside": full_inside}
    failed = False
    for name, run in runs.items():
        if given.only not in (None, name):
            continue
        with tempfile.TemporaryDirectory(prefix="capped-", dir=given.folder) as folder:
            try:
                print(run(Path(folder)), flush=True)
            except Lost as error:
                failed = True
                print(f"{name}: LOST: {error}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
