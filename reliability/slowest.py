"""Pipelines of real tools with a known slowest stage: how often is it named? `python -m reliability slowest --load 2`.

Which stage is the slowest is known by construction: it is made to sleep, or computes far more for each byte than the
others. Each pipeline is looked at ten times, from its third second on, in the JSON and in the sentence of `why`. What is
not installed is left out, and said. Exits with 1 where fewer than 95 of 100 looks are right.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator

import corral

LOOKS = 10
FIRST = 3.0
EVERY = 0.5
PIPELINES = {
    "yes hello | gzip -9 | sha256sum": 2,
    "yes | tr y z | gzip -9 | sha256sum": 3,
    "cat /dev/zero | sha512sum | cat": 2,
    "seq 10000000000 | sed -E 's/(1|2)+/x/g' | cat | wc -l": 2,
    "cat /dev/urandom | xz -T1 -9 | cat": 2,
    "cat /dev/urandom | xz -T2 -3 | cat": 2,
    "cat /dev/urandom | zstd -T1 -19 | cat": 2,
    "cat /dev/urandom | zstd -T2 -19 | wc -c": 2,
    "cat /dev/urandom | bzip2 | md5sum": 2,
    "cat /dev/zero | pigz -11 -p 2 | cat": 2,
    "cat /dev/urandom | pigz -9 -p 4 | cat": 2,
    "cat /dev/urandom | lz4 -9 -c - | cat": 2,
    "pv -q -L 1M /dev/zero | gzip | cat": 1,
    "pv -q -L 2M /dev/zero | pigz -p 2 | sha256sum": 1,
    "cat /dev/urandom | pv -q -L 200k | gzip -1 | cat": 2,
    "cat /dev/urandom | cat | cat | pv -q -L 100k": 4,
    "yes 'a b c' | awk '{ for (i = 0; i < 200; i++) x += i; print }' | cat": 2,
    "yes 'a b c' | perl -ne 's/(\\w)/$1$1/g for 1 .. 9; print' | wc": 2,
    "yes '{\"a\": [1, 2, 3]}' | jq -c .a | cat": 2,
    "yes 1 | xargs -n 1 echo | cat": 2,
    "yes | sh -c 'cat | sed -E \"s/(y|z)+/x/g\" | cat' | cat": 2,
    "yes | sh -c 'while read line; do sleep 0.05; done' | cat": 2,
    "sh -c 'while :; do sleep 0.05; date; done' | grep 1 | cat": 1,
    "cat /dev/zero | openssl enc -des-ede3-cbc -pbkdf2 -k x | cat": 2,
    "yes | head -c 100G | dd bs=64 | cat": 3,
    "yes | python3 -c 'import sys, time\nfor line in sys.stdin: time.sleep(0.001)'": 2,
    "python3 -c 'import time\nwhile True: print(1, flush=True); time.sleep(0.01)' | cat | grep 1": 1,
    "seq 100000000000 | grep -E '(1|2|3|4)+5(6|7)+8.*9.*9.*9.*9' | cat": 2,
    "tar c --to-stdout --ignore-failed-read /usr/bin /usr/bin /usr/bin | xz -T1 | wc -c": 2,
    "cat /dev/zero | base64 | gzip -9 | cat": 3,
}


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """So many other programs that want a core each."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def programs(line: str) -> list[str]:
    """The first words of its stages; those within quotes are of no account here."""
    return [stage.split()[0] for stage in line.replace("\\|", "").split(" | ") if stage.split()[0].isalnum()]


async def looked_at(manager: corral.JobManager, line: str, slowest: int) -> list[str]:
    """What was wrong, a line a look; nothing where all were right."""
    wrong = []
    handle = await manager.start(line, max_output=64 << 10)
    began = time.monotonic()
    for look in range(LOOKS):
        await asyncio.sleep(max(0.0, began + FIRST + look * EVERY - time.monotonic()))
        found, told = await handle.snapshot(), await handle.why()
        name = found.stages[slowest - 1].name
        if found.bottleneck != slowest or f"{name}" not in told.summary.partition(" holds up the rest")[0]:
            times = [stage.time for stage in found.stages]
            wrong.append(f"{found.bottleneck}: {told.summary}  {times}")
    await handle.stop(grace=0.5)
    return wrong


async def run(asked: argparse.Namespace) -> int:
    looks = wrong = 0
    async with corral.open() as manager:
        for line, slowest in PIPELINES.items():
            missing = [program for program in programs(line) if shutil.which(program) is None]
            if missing:
                print(f"left out, {', '.join(missing)} is not installed: {line}", flush=True)
                continue
            with busy(asked.load):
                found = await looked_at(manager, line, slowest)
            looks, wrong = looks + LOOKS, wrong + len(found)
            print(f"{LOOKS - len(found):>2} of {LOOKS}  {line!r}", flush=True)
            for one in found[: asked.show]:
                print(f"          {one}", flush=True)
    load = os.getloadavg()[0]
    print(f"{looks - wrong} of {looks} looks were right; {asked.load} busy programs beside, load {load:.1f}")
    return 0 if (looks - wrong) >= 0.95 * looks else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--load", type=int, default=0, help="so many busy loops beside")
    parser.add_argument("--show", type=int, default=1, help="of each pipeline so many looks that were wrong")
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
