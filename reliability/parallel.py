"""Many jobs that all ignore TERM, stopped at once: `python -m reliability parallel --jobs 50 --grace 2`.

Were they stopped one after the other, it would take jobs × grace. Exits with 1 where anything is left, or where it took
more than twice the grace.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time

import corral
from managers import marked, nonce_of, ready, zoo_argv


async def stop_at_once(jobs: int, grace: float) -> tuple[float, int]:
    """Seconds until the stop had returned, and how many processes were left then."""
    async with corral.open() as manager:
        handles = await manager.start_many([zoo_argv("ignores_many")] * jobs)
        await asyncio.gather(*(ready(handle) for handle in handles))
        began = time.monotonic()
        await manager.stop(handles, grace=grace)
        return time.monotonic() - began, len(marked(nonce_of(manager.session.home)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=50)
    parser.add_argument("--grace", type=float, default=2.0)
    parser.add_argument("--times", type=int, default=3)
    asked = parser.parse_args()
    is_well = True
    for _ in range(asked.times):
        seconds, left = asyncio.run(stop_at_once(asked.jobs, asked.grace))
        print(
            f"{asked.jobs} jobs with a grace of {asked.grace:g} s: gone after {seconds:.2f} s, {left} left",
            flush=True,
        )
        is_well &= not left and seconds < 2 * asked.grace
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
