"""Run by the release before this one: `python populate.py HOME`. Jobs of every kind in that home; prints them as JSON.

What it prints: by name, the id and the pids of its stages, as that release knew them.
"""

from __future__ import annotations

import asyncio
import json
import sys

import corral

FLOW = "import time\nwhile True: print('line', flush=True); time.sleep(0.05)"
OBEYS_LATE = "trap '' TERM; echo ready; while :; do sleep 1; done"


async def main(home: str) -> None:
    async with corral.connect(home) as manager:
        await manager.wait([await manager.start("echo kept", name="done")])
        await manager.wait([await manager.start(["sh", "-c", "echo bad >&2; exit 7"], name="failed")])
        stopped = await manager.start("sleep 300", name="stopped")
        await stopped.stop()
        await manager.start(
            "echo talk; read line; echo got $line; exit 5", shell=True, name="asks", stdin="interactive"
        )
        await manager.start("sleep 300 | cat | wc -c", name="pipeline")
        flow = await manager.start([sys.executable, "-u", "-c", FLOW], name="flow", max_output=1 << 20)
        await manager.start(["sleep", "300"], name="limited", timeout=200)
        await manager.start(["sleep", "300"], name="waits", after=[flow])
        paused = await manager.start(["sleep", "300"], name="paused")
        await paused.pause()
        await manager.start(["sh", "-c", "tty; exec sleep 300"], name="terminal", pty=True)
        stubborn = await manager.start(OBEYS_LATE, shell=True, name="stopping")
        async for _ in stubborn.follow():
            break
        stop = asyncio.create_task(stubborn.stop(grace=100))
        while (await stubborn.snapshot()).state != "stopping":
            await asyncio.sleep(0.01)
        left = await manager.start("sleep 300 & echo gone", shell=True, name="left")
        await left.wait()
        jobs = {job.name: job for job in await manager.jobs(all=True)}
        facts = {
            name: {"id": job.id, "state": job.state, "pids": [stage.pid for stage in job.stages]}
            for name, job in jobs.items()
        }
        print(json.dumps(facts), flush=True)
        stop.cancel()


asyncio.run(main(sys.argv[1]))
