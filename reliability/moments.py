"""SIGKILL of the daemon at chosen moments: before and after each step of what it does. Anything lost is exit 1.

    python -m reliability moments [--nth 3] [--only NAME] [--seed 1]

A daemon with a hook ends itself at the nth call of a function; the next `corral` command starts an ordinary one.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from corral.client.blocking import Client
from corral.model.errors import CorralError
from corral.protocol.address import dial
from reliability.accounts import Broken, Gap
from reliability.crash import Run
from reliability.dies_at import MOMENTS, ONCE
from until import until

PROGRAM = os.path.join(os.path.dirname(__file__), "dies_at.py")
PATIENCE = 20.0
"""Seconds of load within which the moment has to come."""


def strike(run: Run, moment: str, nth: int) -> bool:
    """End the daemon that runs, start one that dies at `moment`, load it, look. Whether the moment came."""
    daemon = run.daemon()
    if daemon is not None:
        run.book.gaps.append(Gap(run.kill(daemon), float("inf")))
    watch = Path(run.home.path).parent / "died"
    watch.touch()
    argv = [sys.executable, PROGRAM, run.home.path, moment, str(nth), str(watch)]
    with subprocess.Popen(argv, start_new_session=True, stderr=subprocess.PIPE, cwd="/") as dying:
        _load_until_dead(run, dying)
        came = dying.returncode == -9
        if not came:
            dying.terminate()
        assert dying.stderr is not None
        said = dying.stderr.read().decode()
    if said:
        raise Broken(f"the daemon said: {said}")
    gap = Gap(watch.stat().st_mtime if came else time.time(), float("inf"))
    run.book.gaps.append(gap)
    run.check_journal()
    run.book.look()
    jobs = run.jobs()
    gap.answered = time.time()
    run.book.check(jobs)
    return came


def _load_until_dead(run: Run, dying: subprocess.Popen[bytes]) -> None:
    before = _socket_of(run)
    until(lambda: dying.poll() is not None or _listens(run, before), "it to listen")
    try:
        with Client.connect(run.home, start=False) as client:
            if len(run.book.gaps) and run.book.gaps[-1].answered == float("inf"):
                run.book.gaps[-1].answered = time.time()
            over = threading.Event()
            worker = threading.Thread(target=run.load.run, args=(client, over))
            worker.start()
            try:
                dying.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                return
            finally:
                over.set()
                worker.join()
    except CorralError as error:
        # It died before it listened, or before it said hello.
        try:
            dying.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Broken(f"the daemon lives, and: {error}") from error
    if run.load.failure is not None:
        raise run.load.failure


def _listens(run: Run, before: tuple[int, int] | None) -> bool:
    if _socket_of(run) in (None, before):
        return False
    try:
        dial(run.home).close()
    except (FileNotFoundError, ConnectionRefusedError):
        # Bound, and not listening yet.
        return False
    return True


def _socket_of(run: Run) -> tuple[int, int] | None:
    try:
        found = os.stat(run.home.socket)
        return found.st_ino, found.st_ctime_ns
    except FileNotFoundError:
        return None


def moments(names: list[str], nth: int, seed: int) -> int:
    """The exit status."""
    struck: Counter[str] = Counter()
    missed = 0
    with tempfile.TemporaryDirectory(prefix="moments-") as directory:
        run = Run(Path(directory), seed)
        try:
            run.turn()  # so that something has ended, which can be removed
            for name in names:
                times = 1 if name in ONCE else nth
                for number in range(1, times + 1):
                    struck[name] += strike(run, name, number)
                print(f"{name:<42} {struck[name]} of {times}", flush=True)
                missed += struck[name] < times
            run.finish()
        except (Broken, AssertionError, subprocess.TimeoutExpired) as error:
            print(f"{name}: {type(error).__name__}: {error}")
            run.print_log()
            return 1
        finally:
            run.end()
    accepted = sum(account.id is not None for account in run.book.accounts)
    print(f"kills {struck.total()}, jobs {accepted}, ends {dict(sorted(run.book.ends.items()))}")
    print(f"state not known: {dict(run.book.lost)}; unaccounted for: 0; bytes of output lost: 0")
    return 1 if missed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nth", type=int, default=3, help="strike at the 1st to the nth call (default 3)")
    parser.add_argument("--only", choices=MOMENTS)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    sys.exit(moments([options.only] if options.only else list(MOMENTS), options.nth, options.seed))
