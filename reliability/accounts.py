"""What is known of jobs outside Corral: each writes a token when it starts and when it ends. And what must be true of both."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from corral.lifecycle.outcome import HALF_STARTED, LOST
from corral.model.home import Home
from corral.model.job import Job
from corral.platform.process.identity import ProcessIdentity, identify, is_alive

PROGRAMS = {
    # TOKEN COUNT TAG STATUS: numbered lines, 20 and a rest at a time.
    "count": """echo "start $$" >>"$1"; i=0
while [ $i -lt $2 ]; do echo "$3 $i"; i=$((i+1)); [ $((i % 20)) = 0 ] && sleep 0.05; done
echo "end $$" >>"$1"; exit $4
""",
    # TOKEN: copies its stdin.
    "copy": """echo "start $$" >>"$1"; cat; echo "end $$" >>"$1"
""",
    # TOKEN: three children that outlive a second.
    "fork": """echo "start $$" >>"$1"; for k in 0 1 2; do (sleep 0.7; echo child) & done; wait; echo "end $$" >>"$1"
""",
    # TOKEN SECONDS: a grandchild in a session of its own goes on.
    "escape": """echo "start $$" >>"$1"
(setsid sh -c 'echo "left $$" >>"$1"; exec sleep "$2"' x "$1" "$2" &)
until grep -q left "$1"; do sleep 0.01; done; echo "end $$" >>"$1"
""",
    # TOKEN: ignores TERM.
    "stubborn": """trap "" TERM; echo "start $$" >>"$1"; while :; do sleep 0.05; done
""",
    # TOKEN: sleeps until somebody ends it.
    "sleep": """echo "start $$" >>"$1"; exec sleep 600
""",
}
REASONS = {LOST, HALF_STARTED}
EARLY = 0.3
"""Seconds before a kill within which an end may not have been noted yet: the daemon looks at once, if it gets a core."""


class Broken(AssertionError):
    """Something was lost, happened twice, or was said that is not so."""


@dataclass
class Account:
    """One job: what was asked for, and what has to come of it."""

    name: str
    kind: str
    token: Path
    id: str | None = None
    """Once the daemon has said so, or its list has."""
    output: bytes | None = None
    """The whole of its stdout, where that is known."""
    file: Path | None = None
    """Where it goes instead of the job's own file."""
    status: int = 0
    stop: str | None = None
    """`asked` where the daemon has answered, `perhaps` where it was killed before."""
    pause: str | None = None
    removal: str | None = None
    times_out: bool = False
    after: Account | None = None
    source: Account | None = None
    broke_off: bool = False
    """It was fed by a daemon that was killed meanwhile, or the one it is after had no success."""
    process: ProcessIdentity | None = None
    is_settled: bool = False

    def lines(self, word: str) -> list[int]:
        """The pids in its token that stand behind `word`."""
        try:
            text = self.token.read_text()
        except FileNotFoundError:
            return []
        pairs = (line.split() for line in text.splitlines())
        return [int(pair[1]) for pair in pairs if len(pair) == 2 and pair[0] == word]

    def look(self) -> None:
        """Note the process that says it is this job's, while it lives."""
        started = self.lines("start")
        if len(started) > 1:
            raise Broken(f"{self} was started {len(started)} times: {started}")
        if started and self.process is None:
            self.process = identify(started[0])

    @property
    def lives(self) -> bool:
        return self.process is not None and is_alive(self.process)

    def __str__(self) -> str:
        return f"{self.kind} {self.name} (job {self.id})"


@dataclass
class Gap:
    """Seconds since the epoch between the kill of a daemon and the first answer of the next."""

    killed: float
    answered: float


@dataclass
class Book:
    """All accounts of one run, and the kills."""

    home: Home
    accounts: list[Account] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)

    def look(self) -> None:
        """Read the tokens, before a list is fetched: what has started by now must not be shown as queued then."""
        for account in self.accounts:
            if not account.is_settled:
                account.look()

    def check(self, jobs: list[Job], *, is_last: bool = False) -> None:
        """Every account against the list of the daemon, which was fetched just now. Raises Broken."""
        by_name = {job.name: job for job in jobs}
        for account in self.accounts:
            if account.removal == "asked" and account.name in by_name:
                raise Broken(f"{account} was removed and is there")
            if account.is_settled:
                continue
            job = by_name.get(account.name)
            if job is None:
                self._check_never_accepted(account)
                continue
            if account.id not in (None, job.id):
                raise Broken(f"{account} has become job {job.id}")
            account.id = job.id
            was_started = account.process is not None
            account.look()
            self._check_job(account, job, was_started)
            if is_last and not job.is_ended:
                raise Broken(f"{account} is still {job.state}")

    def _check_never_accepted(self, account: Account) -> None:
        if account.id is not None:
            raise Broken(f"{account} was accepted and is not there")
        if account.lines("start"):
            raise Broken(f"{account} was never accepted and ran")

    def _check_job(self, account: Account, job: Job, was_started: bool) -> None:
        self._check_output(account, is_whole=bool(account.lines("end")) and account.kind != "from")
        if job.is_ended:
            self._check_end(account, job)
            account.is_settled = True
            self.ends[job.state] += 1
            return
        if job.state == "queued" and was_started:
            raise Broken(f"{account} is shown as queued and has started")
        leaders = [stage.pid for stage in job.stages]
        if was_started and account.process is not None and account.process.pid not in leaders:
            raise Broken(f"{account} runs as {account.process.pid}, shown is {leaders}")
        if account.pause == "asked" and account.stop is None and job.state != "paused":
            raise Broken(f"{account} was paused and is {job.state}")

    def _check_end(self, account: Account, job: Job) -> None:
        if account.lives:
            raise Broken(f"{account} is shown as {job.state} ({job.reason}) and runs as {account.process}")
        allowed = self._allowed(account)
        if job.state not in allowed:
            raise Broken(f"{account} is {job.state} {job.exit_status} ({job.reason}), not {sorted(allowed)}")
        if job.state == "lost":
            self._check_lost(account, job)
        elif job.state in ("succeeded", "failed") and not account.broke_off:
            if job.exit_status != account.status:
                raise Broken(
                    f"{account} exited with {account.status}, shown is {job.exit_status} ({job.reason})"
                )
            if not account.lines("end"):
                raise Broken(f"{account} is {job.state}, and it never came to its end")

    def _allowed(self, account: Account) -> set[str]:
        if account.stop == "asked" and account.kind == "stubborn":
            return {"stopped"}
        states = {"lost"}
        if account.stop is not None:
            states.add("stopped")
        if account.times_out:
            return {*states, "timed_out"}
        if account.stop != "asked" and account.kind not in ("stubborn", "sleep"):
            states.add("failed" if account.status or account.broke_off else "succeeded")
        if account.broke_off or (account.after is not None and account.after.is_settled):
            states |= {"failed", "succeeded"}
        return states

    def _check_lost(self, account: Account, job: Job) -> None:
        """Its reason must be true: it ended around a time without a daemon, or was just being started."""
        self.lost[job.reason or "?"] += 1
        if job.reason not in REASONS:
            raise Broken(f"{account} is lost: {job.reason}")
        if job.reason == LOST and account.lines("end"):
            ended = account.token.stat().st_mtime
            if not any(gap.killed - EARLY <= ended <= gap.answered for gap in self.gaps):
                raise Broken(f"{account} is lost, and it ended while a daemon watched it")

    def _check_output(self, account: Account, *, is_whole: bool) -> None:
        if account.output is None or account.id is None:
            return
        path = account.file or Path(self.home.stdout(account.id))
        written = path.read_bytes() if path.exists() else b""
        if not account.output.startswith(written):
            raise Broken(
                f"{account}: its output is not what it wrote: {written[:80]!r}, {len(written)} bytes"
            )
        if is_whole and written != account.output:
            raise Broken(f"{account}: {len(written)} of {len(account.output)} bytes of its output")


def counted(count: int, tag: str) -> bytes:
    """What the program `count` prints."""
    return b"".join(b"%s %d\n" % (tag.encode(), number) for number in range(count))


def write_programs(directory: Path) -> dict[str, str]:
    """The programs as files; their paths by name."""
    paths = {}
    for name, text in PROGRAMS.items():
        path = directory / f"{name}.sh"
        path.write_text(text)
        paths[name] = os.fspath(path)
    return paths
