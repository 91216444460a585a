"""The five jobs that run as long as the demo, and its batch, as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from corral_tui.demo.own_daemon import program
from corral_tui.demo.tools import Tools

STUBBORN = "stubborn"
ASK = "ask"
SWEEP = "sweep"
SWEEP_COMMAND = (
    "sh",
    "-c",
    "head -c 100000 /dev/zero | md5sum; sleep 0.3; test $(($1 % 40)) -ne 0",
    "sh",
    "{}",
)
"""Of the batch: a minute of work, two at a time, of which each fortieth fails."""
SWEEP_INPUTS = range(1, 401)


@dataclass(frozen=True, slots=True)
class DemoJob:
    """One of them. `command` is a command line or an argv; `is_asked` gives it a stdin that stays open and silent."""

    name: str
    command: str | Sequence[str]
    is_asked: bool = False
    is_fed: bool = False
    """Whether its stdin is a pipe from the demo, which writes 100 MB to it at a pace that can be watched."""

    needs_password: bool = False


def long_jobs(tools: Tools) -> list[DemoJob]:
    """In the order of their panels. A job is simplified or left out if this machine lacks its program."""
    jobs = [
        DemoJob("squeeze", _squeeze(tools), needs_password=True),
        DemoJob("numbers", program("numbers")),
        DemoJob(ASK, program("ask"), is_asked=True),
        DemoJob(STUBBORN, program("stubborn")),
    ]
    if tools.digest is not None:
        jobs.append(DemoJob("feed", tools.digest, is_fed=True))
    return jobs


def _squeeze(tools: Tools) -> str:
    """Endless. gzip -9 is the slowest stage: noise does not compress, and the others are many times as fast."""
    end = f" | {' '.join(tools.digest)}" if tools.digest else " > /dev/null"
    if tools.encrypt is None:
        return "cat /dev/urandom | gzip -9" + end
    cipher = "openssl enc -aes-256-ctr -pbkdf2 -pass env:password"
    return f"{cipher} < /dev/zero | gzip -9 | {cipher}{end}"
