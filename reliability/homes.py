"""Files of the home, or all of it, removed and replaced under a living daemon at random moments, while commands come.

python -m reliability homes [--times 100] [--seed 1]

What must hold: one daemon, the same all the time; the job that runs stays in reach; no command fails.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from corral.home.identity import LOCK
from corral.platform.inspect.file_locks import flock_holders
from e2e.command import Corral
from until import until

COMMANDS = (("run", "-q", "true"), ("run", "-q", "--wait", "true"), ("ps",), ("daemon", "status"))
REMOVALS = {
    "socket": ("socket",),
    "lock": ("daemon.lock",),
    "lock and socket": ("daemon.lock", "socket"),
    "journal": ("corral.db", "corral.db-wal", "corral.db-shm"),
    "log of the journal": ("corral.db-wal",),
    "note": ("home.json",),
    "jobs": ("jobs",),
}
FOLDERS = ("removed", "emptied", "replaced by a copy")


def remove(path: Path) -> None:
    """Also while the daemon or a command makes it again."""
    while path.exists():
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def harm(home: Path, what: str) -> None:
    if what in REMOVALS:
        for name in REMOVALS[what]:
            remove(home / name)
        return
    copy = home.with_name("copy")
    if what == "replaced by a copy":
        # What goes while it is copied is not in the copy: that is what such a copy is.
        subprocess.run(["cp", "-a", home, copy], capture_output=True, check=False)
    remove(home)
    with contextlib.suppress(OSError):  # A command may have made it again.
        copy.rename(home) if copy.exists() else None
        home.mkdir(mode=0o700) if what == "emptied" else None
    shutil.rmtree(copy, ignore_errors=True)


def daemons(home: Path) -> set[int]:
    return {holder.pid for holder in flock_holders(LOCK) if holder.folder == str(home)}


def turn(corral: Corral, what: str, chance: random.Random) -> list[str]:
    """One harm among commands; what went wrong."""
    commands = [corral.start(*chance.choice(COMMANDS)) for _ in range(chance.randrange(3))]
    time.sleep(chance.uniform(0.0, 0.3))
    harm(corral.home, what)
    commands += [corral.start(*chance.choice(COMMANDS)) for _ in range(3)]
    problems = []
    for command in commands:
        _, err = command.communicate(timeout=120)
        if command.returncode:
            problems.append(f"{command.args[3:]}: {command.returncode} {err.decode().strip()}")  # type: ignore[index]
    return problems


def main(times: int, seed: int) -> int:
    chance, failed = random.Random(seed), 0
    with tempfile.TemporaryDirectory(prefix="homes-") as directory:
        (work := Path(directory) / "work").mkdir()
        corral = Corral(Path(directory) / "home", work)
        corral.ok("run", "-q", "-n", "stays", "sleep", "100000")
        (daemon,) = daemons(corral.home)
        try:
            for number in range(times):
                what = chance.choice((*REMOVALS, *FOLDERS))
                problems = turn(corral, what, chance)
                jobs = json.loads(corral("ps", "--json", "stays").stdout or "[]")
                if [job["state"] for job in jobs] != ["running"]:
                    problems.append(f"the job that stays: {jobs}")
                with contextlib.suppress(AssertionError):
                    until(lambda: daemons(corral.home) == {daemon}, "one daemon", seconds=10)
                if daemons(corral.home) != {daemon}:
                    problems.append(f"daemons {daemons(corral.home)}, not {daemon}")
                if problems:
                    failed += 1
                    print(f"{number + 1}, {what}: {'; '.join(problems)}", flush=True)
        finally:
            ended = corral("daemon", "stop", "--jobs", "stop")
        left = [pid for pid in corral.processes() if os.path.exists(f"/proc/{pid}/exe")]
    print(f"harms: {times}, failed {failed}; daemon stop {ended.returncode}, processes left: {left}")
    return 1 if failed or ended.returncode or left else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    sys.exit(main(options.times, options.seed))
