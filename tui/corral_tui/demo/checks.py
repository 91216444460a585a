"""Six kinds of work that Corral is for, each run for real and compared with what was expected."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from corral.library.job_handle import JobHandle
from corral.model.errors import CorralError
from corral.model.job import Job
from corral_tui.demo import feeding
from corral_tui.demo.own_daemon import DIRECTORY, DemoManager
from corral_tui.demo.tools import Tools, output_of, password_environment

GREETING = "Hello from the child!"
AT_ONCE = 3
"""Encryptors at a time, with so many random bytes each:"""
RANDOM_BYTES = 10
SLEEPS = 10
WHIRLPOOL_BYTES = 64
LIMIT = 0.1
MOST_SECONDS = 20.0
"""How long to wait for a running job's numbers; on an idle machine they take one second."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What a check needs. `is_thorough` adds checks that would clutter the screen."""

    manager: DemoManager
    tools: Tools
    is_thorough: bool = True


class CheckResult(NamedTuple):
    """What happened, and whether it was expected."""

    found: str
    agrees: bool
    jobs: tuple[Job, ...] = ()
    brief: str = ""
    """A short form, for a line that names all six, in place of the name of the kind."""
    is_skipped: bool = False
    """It could not be tried; `found` says why."""


class CheckKind(NamedTuple):
    """One of the six. `needs` returns why it cannot be tried here, or an empty string."""

    name: str
    expected: str
    run: Callable[[Bench], Awaitable[CheckResult]]
    needs: Callable[[Tools], str] = lambda tools: ""


Finding = tuple[CheckKind, CheckResult]


async def check(kind: CheckKind, bench: Bench) -> Finding:
    """Run one kind. An error becomes a result that does not agree, not an exception."""
    missing = kind.needs(bench.tools)
    if missing:
        text = f"skipped: {missing}"
        return kind, CheckResult(text, True, brief=f"{kind.name}: {text}", is_skipped=True)
    try:
        return kind, await kind.run(bench)
    except (CorralError, OSError, TimeoutError) as error:
        return kind, CheckResult(str(error), False)


# ---- 1 to 3 -------------------------------------------------------------------------------------------------------


async def _run_and_check(bench: Bench) -> CheckResult:
    result = await bench.manager.run(["echo", GREETING], name="hello", cwd=DIRECTORY)
    printed = result.stdout.decode(errors="replace")
    agrees = result.succeeded and result.exit_status == 0 and printed == GREETING + "\n"
    return CheckResult(f"{printed.strip()!r}, exit {result.exit_status}", agrees, (result.job,))


async def _poll(bench: Bench) -> CheckResult:
    """Poll a job while we feed it, then let it end."""
    handle, writer = await bench.manager.start_fed("gzip -9 > /dev/null", name="poll")
    feeding_it = asyncio.create_task(feeding.feed(writer, feeding.HUNDRED_MEGABYTES * 100))
    seen: list[Job] = []
    try:
        async with asyncio.timeout(MOST_SECONDS):
            while not _has_seen_enough(seen):
                seen.append(await handle.snapshot())
                await asyncio.sleep(0.1)
    except TimeoutError:
        pass  # what is missing is reported below
    finally:
        feeding_it.cancel()
        await asyncio.wait([feeding_it])
    job = await handle.wait()
    elapsed = [each.elapsed or 0.0 for each in seen]
    grows = len(seen) > 2 and all(before < after for before, after in itertools.pairwise(elapsed))
    agrees = grows and _has_seen_enough(seen) and job.exit_status == 0
    found = f"{'running' if all(each.state == 'running' for each in seen) else 'not running'}, "
    found += f"its time {'grows' if grows else 'stands still'}, cpu and memory "
    found += f"{'seen' if _has_seen_enough(seen) else 'not seen'}; exit {job.exit_status}"
    return CheckResult(found, agrees, (job,))


def _has_seen_enough(seen: Sequence[Job]) -> bool:
    """Whether it was seen running three times, and its numbers were seen."""
    running = [job for job in seen if job.state == "running"]
    return len(running) > 2 and any(job.memory_bytes and job.cpu_percent for job in running)


async def _parallel(bench: Bench) -> CheckResult:
    handles = await bench.manager.start_many([["sleep", "1"]] * SLEEPS, cwd=DIRECTORY)
    jobs = await bench.manager.wait(handles)
    well = sum(job.state == "succeeded" for job in jobs)
    started = [job.started for job in jobs if job.started is not None]
    ended = [job.ended for job in jobs if job.ended is not None]
    is_whole = len(started) == len(ended) == SLEEPS
    together = is_whole and max(started) < min(ended)
    seconds = (max(ended) - min(started)).total_seconds() if is_whole else float("nan")
    found = (
        f"{well} ended well, {'' if together else 'not '}all at the same time: {seconds:.1f} s, not {SLEEPS}"
    )
    return CheckResult(
        found, well == SLEEPS and together, jobs, f"ten × sleep 1: {seconds:.1f} s, not {SLEEPS}"
    )


# ---- 4: feed and read ---------------------------------------------------------------------------------------------


async def _feed_and_read(bench: Bench) -> CheckResult:
    encrypt = bench.tools.encrypt
    assert encrypt is not None
    secrets = [os.urandom(RANDOM_BYTES) for _ in range(AT_ONCE)]
    jobs, made = await _fed(bench, [encrypt] * AT_ONCE, secrets, "des3")
    decrypt = (*encrypt[:2], "-d", *encrypt[2:])
    back = [await asyncio.to_thread(output_of, decrypt, each) for each in made]
    right = sum(one == other for one, other in zip(secrets, back, strict=True))
    found = f"{right} of {AT_ONCE} decrypt to what was fed"
    agrees = right == AT_ONCE and all(job.state == "succeeded" for job in jobs)
    if bench.is_thorough and bench.tools.digest is None:
        found += "; 100 MB not tried: no sha256sum"
    elif bench.is_thorough and bench.tools.digest is not None:
        whole, digest_job = await _hundred_megabytes(bench, bench.tools.digest)
        found += f"; 100 MB {'arrived whole' if whole else 'did not arrive whole'}"
        agrees, jobs = agrees and whole, (*jobs, digest_job)
    return CheckResult(found, agrees, jobs)


async def _hundred_megabytes(bench: Bench, digest: Sequence[str]) -> tuple[bool, Job]:
    handle, writer = await bench.manager.start_fed(digest, name="feed")
    await feeding.feed(writer, feeding.HUNDRED_MEGABYTES)
    job = await handle.wait()
    printed = (await handle.stdout()).split()
    expected = await asyncio.to_thread(feeding.sha256_of, feeding.HUNDRED_MEGABYTES)
    return printed[:1] == [expected.encode()], job


async def _fed(
    bench: Bench, commands: Sequence[str | Sequence[str]], inputs: Sequence[bytes], name: str
) -> tuple[tuple[Job, ...], list[bytes]]:
    """The ended jobs of these commands and their output. Each of `inputs` fits in a pipe."""
    handles: list[JobHandle] = []
    for number, (command, data) in enumerate(zip(commands, inputs, strict=True), 1):
        environment = password_environment()
        handle, writer = await bench.manager.start_fed(command, name=f"{name}-{number}", env=environment)
        await feeding.give(writer, data)
        handles.append(handle)
    jobs = await bench.manager.wait(handles)
    return jobs, [await handle.stdout() for handle in handles]


# ---- 5: chains ----------------------------------------------------------------------------------------------------


async def _chains(bench: Bench) -> CheckResult:
    """Compare pipelines of an encryptor and a digest with the same programs run by Python one after the other."""
    encrypt, whirlpool = bench.tools.encrypt, bench.tools.whirlpool
    assert encrypt is not None
    assert whirlpool is not None
    secrets = [os.urandom(RANDOM_BYTES) for _ in range(AT_ONCE)]
    salted = [(*encrypt, "-S", os.urandom(8).hex()) for _ in secrets]
    # Our own argvs need no quotes.
    commands = [f"{' '.join(each)} | {' '.join(whirlpool)}" for each in salted]
    jobs, digests = await _fed(bench, commands, secrets, "chain")
    expected = [
        await asyncio.to_thread(_chained, one, whirlpool, secret)
        for one, secret in zip(salted, secrets, strict=True)
    ]
    right = sum(
        one == other and len(one) == WHIRLPOOL_BYTES for one, other in zip(digests, expected, strict=True)
    )
    statuses = {stage.exit_status for job in jobs for stage in job.stages}
    exits = "each stage exit 0" if statuses == {0} else f"exit statuses {sorted(map(str, statuses))}"
    found = f"{right} of {AT_ONCE} digests right, {exits}"
    agrees = right == AT_ONCE and statuses == {0}
    if bench.is_thorough:
        head = await bench.manager.run("yes | head -n 1", name="yes", cwd=DIRECTORY)
        found += f"; yes | head -n 1 {head.job.state}"
        agrees, jobs = agrees and head.succeeded and head.stdout == b"y\n", (*jobs, head.job)
    return CheckResult(found, agrees, jobs)


def _chained(encrypt: tuple[str, ...], whirlpool: tuple[str, ...], data: bytes) -> bytes | None:
    encrypted = output_of(encrypt, data)
    return None if encrypted is None else output_of(whirlpool, encrypted)


# ---- 6: time limits -----------------------------------------------------------------------------------------------


async def _time_limits(bench: Bench) -> CheckResult:
    limited = await bench.manager.start(["sleep", "10"], name="limit", timeout=LIMIT, cwd=DIRECTORY)
    handles = [limited]
    if bench.is_thorough:
        deaf = ["sh", "-c", "trap '' TERM; sleep 10"]
        handles.append(
            await bench.manager.start(deaf, name="deaf", timeout=0.5, stop_grace=0.2, cwd=DIRECTORY)
        )
    jobs = await bench.manager.wait(handles)
    wanted = ("TERM", "KILL")
    # Stopping an ended job does nothing, and returns the report of the earlier stop.
    reports = [await handle.stop() for handle in handles]
    agrees = all(
        job.state == "timed_out" and job.signal == signal and report.nothing_is_left
        for job, signal, report in zip(jobs, wanted, reports, strict=False)
    )
    left = sum(len(report.survivors) for report in reports)
    texts = [
        f"{job.state.replace('_', ' ')} by {job.signal} in {report.seconds * 1000:.0f} ms"
        for job, report in zip(jobs, reports, strict=True)
    ]
    texts += (
        [f"{left} processes are left" if left else "nothing is left"] if bench.is_thorough or left else []
    )
    return CheckResult("; ".join(texts), agrees, jobs)


KINDS = (
    CheckKind("run and check", f"{GREETING!r}, exit 0", _run_and_check),
    CheckKind("poll while working", "running, its time grows, cpu and memory seen; exit 0", _poll),
    CheckKind("many in parallel", "10 end well, all at the same time: about 1 s, not 10", _parallel),
    CheckKind(
        "feed and read",
        "3 of 3 decrypt to what was fed; 100 MB arrive whole",
        _feed_and_read,
        lambda tools: "" if tools.encrypt else tools.no_encrypt,
    ),
    CheckKind(
        "chains",
        "3 of 3 digests right, each stage exit 0; yes | head -n 1 succeeds",
        _chains,
        lambda tools: "" if tools.encrypt and tools.whirlpool else tools.no_whirlpool or tools.no_encrypt,
    ),
    CheckKind(
        "time limits",
        "timed out by TERM, or by KILL if it ignores TERM; nothing is left",
        _time_limits,
    ),
)
