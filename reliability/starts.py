"""Twenty commands at the same moment where no daemon runs: one daemon comes of it, and no command fails.

python -m reliability starts [--times 50] [--clients 20]
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from corral.platform.process.identity import is_alive
from reliability.crash import Run


def herd(run: Run, clients: int) -> tuple[int, str]:
    """(daemons that served, what went wrong) of one herd, after the daemon before was killed."""
    daemon = run.daemon()
    if daemon is not None:
        run.kill(daemon)
    commands = [run.corral.start("run", "--wait", "--", "printenv", "CORRAL_JOB_ID") for _ in range(clients)]
    problems = []
    ids = set()
    for command in commands:
        out, err = command.communicate(timeout=120)
        if command.returncode or err:
            problems.append(f"{command.returncode} {err.decode().strip()}")
        ids.add(out.strip())
    if len(ids) != clients:
        problems.append(f"{clients} commands, {len(ids)} jobs")
    now = run.daemon()
    serving = 1 if now is not None and is_alive(now) else 0
    return serving, "; ".join(sorted(set(problems)))


def main(times: int, clients: int) -> int:
    failed = 0
    seconds = []
    with tempfile.TemporaryDirectory(prefix="starts-") as directory:
        run = Run(Path(directory), random.randrange(1 << 30))
        try:
            for number in range(times):
                began = time.monotonic()
                serving, problems = herd(run, clients)
                seconds.append(time.monotonic() - began)
                if problems or serving != 1:
                    failed += 1
                    print(f"herd {number + 1}: {problems or 'no daemon'}")
        except subprocess.TimeoutExpired as error:
            print(error)
            failed += 1
        finally:
            run.end()
    print(f"herds of {clients}: {times}, failed {failed}, slowest {max(seconds, default=0):.1f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--clients", type=int, default=20)
    options = parser.parse_args()
    sys.exit(main(options.times, options.clients))
