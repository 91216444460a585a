"""Looks for primes and writes a coloured log with a progress bar: `numbers [SECONDS]`, for ten minutes by default."""

from __future__ import annotations

import itertools
import sys
import time

GREEN, YELLOW, FAINT, PLAIN = "\x1b[32m", "\x1b[33m", "\x1b[2m", "\x1b[0m"
BLOCK = 20_000
BAR = 24
BEAT = 0.4
"""Seconds from one line to the next, mostly asleep, so that it uses only part of one core."""


def primes_in(first: int, end: int) -> list[int]:
    """The primes from `first`, not including `end`, by trial division: slow on purpose."""
    return [
        number
        for number in range(max(first, 2), end)
        if all(number % by for by in range(2, int(number**0.5) + 1))
    ]


def line_of(block: int, found: list[int]) -> str:
    """One line of the log. Every fifth is a warning, so that there is something to see in another colour."""
    span = f"{block * BLOCK:>9,} to {(block + 1) * BLOCK:>9,}"
    if block % 5 == 4:
        return f"{YELLOW}note{PLAIN}  {span}  the last prime is {found[-1]:,}"
    return f"{GREEN}ok{PLAIN}    {span}  {len(found):,} primes {FAINT}in block {block + 1}{PLAIN}"


def bar_of(done: float) -> str:
    filled = round(BAR * done)
    return f"\rsearch [{'#' * filled}{'.' * (BAR - filled)}] {done:4.0%}"


def main(words: list[str]) -> int:
    """Run until the time is over. Returns the exit status."""
    seconds = float(words[0]) if words else 600.0
    began = time.monotonic()
    for block in itertools.count():
        beat = time.monotonic()
        found = primes_in(block * BLOCK, (block + 1) * BLOCK)
        done = min(1.0, (beat - began) / seconds)
        print(f"\r{line_of(block, found)}\n{bar_of(done)}", end="", flush=True)  # noqa: T201
        if done >= 1.0:
            break
        time.sleep(max(0.0, min(beat + BEAT, began + seconds) - time.monotonic()))
    print(flush=True)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
