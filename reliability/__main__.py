"""`python -m reliability [NAME [OPTIONS]]`: one program of this folder, or each once. Exits with 1 where one failed."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SHORT = {
    "starts": "--times 3",
    "crash": "--times 5",
    "moments": "--nth 1",
    "cleaning": "--jobs 2000 --times 5",
    "journal": "--times 10",
    "homes": "--times 10",
    "restart": "--times 5 --megabytes 20",
    "escape": "--times 1",
    "storm": "--storms 1",
    "parallel": "--times 1",
    "capped": "--kills 5 --gigabytes 0.5",
    "clock": "--times 1",
    "exhaust": "--quick",
    "fuzz": "--examples 100 --rounds 1",
    "many": "--jobs 500",
    "slowest": "",
    "real_programs": "",
    "zoo": "--times 1",
    "soak": "--jobs 2000",
    "troubled": "--minutes 2",
}
"""Each program that can be run, and the options that make it short."""
SECONDS = 600


def run_each() -> int:
    failed = []
    for name, options in SHORT.items():
        print(f"==== {name} {options}", flush=True)
        try:
            ended = subprocess.run(
                [sys.executable, HERE, name, *options.split()], timeout=SECONDS, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            ended = f"more than {SECONDS} s"
        if ended != 0:
            failed.append(f"{name}: {ended}")
    print("\n".join(failed) or "all as it has to be")
    return 1 if failed else 0


def main(words: list[str]) -> int:
    # Run as a folder, `python reliability`, its modules would be found under names that others have.
    sys.path[:] = [path for path in sys.path if not path or Path(path).resolve() != HERE]
    sys.path[:0] = [os.fspath(HERE.parent), os.fspath(HERE.parent / "tests")]
    if not words:
        return run_each()
    sys.argv[:] = words
    if words[0].replace("_", "").isalnum() and (HERE / f"{words[0]}.py").is_file():
        runpy.run_module(f"reliability.{words[0]}", run_name="__main__", alter_sys=True)
        return 0
    print(f"no such program: {words[0]}; there are {', '.join(SHORT)}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
