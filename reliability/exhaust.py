"""Nothing left of what a daemon lives on: disk, descriptors, processes, memory.

    python -m reliability exhaust                    all of it, half an hour
    python -m reliability exhaust --quick            the first kind of failure of each call
    python -m reliability exhaust --only fork,sqlite --scenario pipeline
    python -m reliability exhaust --only disk,processes

Injected: each call of the system that Corral makes through Python (open, pipe, fork, sqlite, epoll …) fails at its
first, second, … time in each of ten scenarios, once alone and once with every later one, until the scenario makes no
more of them. After each the same daemon answers, every job has an account, none claims what is not so, the next job
works, and no descriptor and no process is left over.

For real: a file system of 3 MB that is full, limits on descriptors, processes, memory and file size that are met.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from e2e.users import NOBODY, as_ordinary_user, why_no_ordinary_user
from reliability import itself
from reliability.for_real import PARTS
from reliability.injected import SCENARIOS, Injector, failure_name
from reliability.injected_daemon import TARGETS

NAMES = (*(target.name for target in TARGETS), *PARTS)


def inject(names: Sequence[str], scenarios: Sequence[str], directory: Path, *, is_quick: bool) -> int:
    """Every failure of the named calls in the named scenarios; how many promises broke."""
    chosen = [target for target in TARGETS if target.name in names]
    if not chosen:
        return 0
    with Injector(directory) as injector:
        tally = injector.tally
        print(f"{'call':14} {'failure':24} {'injected':>9} {'broken':>7}")
        for target in chosen:
            for failure in target.failures[: 1 if is_quick else None]:
                injected, broken = tally.injected, len(tally.broken)
                for scenario in SCENARIOS:
                    if scenario.__name__ in scenarios:
                        for stays in (False, True):
                            injector.run(scenario, TARGETS.index(target), failure, stays=stays)
                name = failure_name(target, failure)
                print(
                    f"{target.name:14} {name:24} {tally.injected - injected:9} {len(tally.broken) - broken:7}",
                    flush=True,
                )
        print(
            f"{tally.injected} failures injected at {len(tally.places)} places, {len(tally.broken)} broke something"
        )
        return len(tally.broken)


def for_real(name: str, directory: Path) -> int:
    """One shortage, in a program of its own; 1 where something did not hold."""
    prefix: tuple[str, ...] = ()
    if name == "disk":
        if os.geteuid() != 0 or shutil.which("unshare") is None:
            print("disk: not tried, it takes root and unshare to mount a small file system")
            return 0
        prefix = ("unshare", "--mount")
    elif name in ("processes", "thousand"):
        reason = why_no_ordinary_user()
        if reason is not None:
            print(f"{name}: not tried: {reason}")
            return 0
        prefix = as_ordinary_user()
        if prefix:
            os.chown(directory, NOBODY, NOBODY)
    ended = subprocess.run(
        [*prefix, *itself("for_real", name, directory)], capture_output=True, text=True, check=False
    )
    lines = (ended.stdout if ended.returncode == 0 else ended.stderr).strip().splitlines() or [""]
    print(f"{name}: {lines[-1]}", flush=True)
    return int(ended.returncode != 0)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(NAMES), help=f"of {', '.join(NAMES)}")
    parser.add_argument("--scenario", default=",".join(each.__name__ for each in SCENARIOS))
    parser.add_argument("--quick", action="store_true", help="one kind of failure of each call")
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := set(names) - set(NAMES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(NAMES)}")
    with tempfile.TemporaryDirectory(prefix="corral-exhaust-") as path:
        os.chmod(path, 0o755)
        broken = inject(names, options.scenario.split(","), Path(path), is_quick=options.quick)
        for name in PARTS:
            if name in names:
                own = Path(path) / name
                own.mkdir()
                broken += for_real(name, own)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
