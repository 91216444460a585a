"""How the dashboard reaches a user who is looking elsewhere: the terminal's bell, and its title.

Both are the terminal's own means (XTerm Control Sequences: BEL, OSC 2, XTWINOPS 22 and 23), so they reach whoever sits
behind ssh or tmux, on any desktop. Which events ring is decided without a terminal, from two snapshots.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from corral.client.snapshot import Snapshot
from corral.model.job import Job
from corral.model.urgency import is_stuck, needs_a_human
from corral_tui.dashboard.frame.screen import Host
from corral_tui.dashboard.paint.lines import clean
from corral_tui.settings.dashboard import Bell
from corral_tui.text.numbers import cut_end

LONG_SECONDS = 10.0
"""A job that ran this long was probably left unattended: its end rings the bell."""
FIRST_GAP, LONGEST_GAP = 4.0, 300.0
"""Seconds between two bells at least: each bell after which no key is pressed doubles them."""
TITLE_LENGTH = 60
_WITHOUT_TITLE = ("", "dumb", "linux", "vt100", "vt220", "sun", "cons25")
"""Values of TERM whose terminals have no title to set; some would print it."""
_PUSH, _POP = "\x1b[22;2t", "\x1b[23;2t"


# ---- what is worth a bell ------------------------------------------------------------------------------------------


def ringing(before: Snapshot, now: Snapshot, bell: Bell) -> list[Job]:
    """The jobs whose change between two snapshots rings. In the first one nothing is a change."""
    if bell == "never" or not before.rev:
        return []
    return [
        job
        for job_id, job in now.jobs.items()
        if job is not (old := before.jobs.get(job_id)) and _rings(old, job, bell)
    ]


def _rings(old: Job | None, job: Job, bell: Bell) -> bool:
    if job.hidden:
        return False
    if is_stuck(job):
        return old is None or not is_stuck(old)
    if not job.is_ended or (old is not None and old.is_ended):
        return False
    if job.state == "stopped":
        # A user stopped it, usually this one; but no user stopped a job that was stopped for being stuck.
        return job.was_ended_as_stuck
    if bell == "stuck":
        return False
    return bell == "all" or needs_a_human(job) or (job.elapsed or 0.0) >= LONG_SECONDS


class BellPace:
    """How often it may ring. Three hundred jobs that end are one bell, or a few."""

    def __init__(self) -> None:
        self._rang_at: float | None = None
        self._gap = FIRST_GAP

    def touched(self) -> None:
        """The user is there."""
        self._gap = FIRST_GAP

    def may_ring(self, now: float) -> bool:
        """Whether it rings now, in seconds of any steady clock; if so, the next has to wait longer."""
        if self._rang_at is not None and now - self._rang_at < self._gap:
            return False
        if self._rang_at is not None:
            self._gap = min(self._gap * 2, LONGEST_GAP)
        self._rang_at = now
        return True


# ---- the title -----------------------------------------------------------------------------------------------------


def title_of(snapshot: Snapshot, unseen: Sequence[Job]) -> str:
    """`[1 STUCK] 4 fetch-index - corral`, `[2 failed] corral`, `corral: 5 running`: what matters most comes first.

    `unseen` are the jobs that need the user. Nothing of a child is in it but a name, made printable.
    """
    if snapshot.trouble:
        return f"[daemon gone] {_NAME}"
    stuck = [job for job in unseen if not job.is_ended]
    failed = len(unseen) - len(stuck)
    counts = [f"{len(stuck)} STUCK"] if stuck else []
    counts += [f"{failed} failed"] if failed else []
    if counts:
        named = unseen[0] if len(unseen) == 1 else None
        which = f"{named.id} {clean(named.title)} - " if named else ""
        return cut_end(f"[{', '.join(counts)}] {which}{_NAME}", TITLE_LENGTH)
    running = sum(1 for job in snapshot.jobs.values() if not job.is_ended and not job.hidden)
    return f"{_NAME}: {running} running" if running else _NAME


_NAME = "corral"


class TerminalTitle:
    """The title of a terminal, put back on leaving where the terminal keeps a stack of them."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._is_taken = False
        self._shown = ""

    def put(self, text: str) -> None:
        """Show `text`; the first time the terminal keeps the title of before."""
        if self._is_taken and text == self._shown:
            return
        before = "" if self._is_taken else _PUSH
        self._is_taken, self._shown = True, text
        self._write(f"{before}\x1b]2;{clean(text)}\a")

    def lend(self) -> None:
        """Restore the previous title for now; the final restore puts back whatever the other program leaves."""
        if self._is_taken:
            self._shown = ""
            self._write(_POP + _PUSH)

    def give_back(self) -> None:
        """Restore the previous title."""
        if self._is_taken:
            self._is_taken = False
            self._write(_POP)


def has_title(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this kind of terminal has a title to set."""
    return environment.get("TERM", "") not in _WITHOUT_TITLE


# ---- both, in the dashboard ----------------------------------------------------------------------------------------


class Notifications:
    """The bell and the title of one dashboard."""

    def __init__(self, host: Host, write: Callable[[str], None]) -> None:
        self._host = host
        self._write = write
        self._pace = BellPace()
        self._seen: dict[str, datetime] = {}
        """When the user last left that job's own terminal."""
        self._is_away = False
        """Another program has the terminal for now."""
        self._title = TerminalTitle(write)
        self.shown_title = ""
        self.bells = 0

    def leave(self) -> None:
        """The terminal is given back."""
        self._title.give_back()

    def suspended(self) -> None:
        """Another program gets the terminal."""
        self._is_away = True
        self._title.lend()

    def resumed(self) -> None:
        """The terminal is ours again."""
        self._is_away = False
        self.refresh_title()

    def touched(self) -> None:
        """A key was pressed: the user is there."""
        self._pace.touched()

    def saw(self, job_id: str) -> None:
        """The user has just been attached to this job: what happened to it is not news."""
        self._seen[job_id] = self._host.clock()

    def follow(self, before: Snapshot, now: Snapshot) -> None:
        """Ring for what is new in `now`, and say the rest in the title."""
        rings = any(not self._has_seen(job) for job in ringing(before, now, self._host.settings.bell))
        # The demo makes jobs hang for show.
        if rings and not self._host.source.is_private and self._pace.may_ring(time.monotonic()):
            self.bells += 1
            self._write("\a")
        self.refresh_title()

    def refresh_title(self) -> None:
        """Show what needs the user now; some of it may have been looked at since."""
        if not self._host.settings.title or self._is_away:
            return
        self.shown_title = title_of(self._host.snapshot, self._host.unseen())
        if has_title():
            self._title.put(self.shown_title)

    def _has_seen(self, job: Job) -> bool:
        until = self._seen.get(job.id)
        return until is not None and job.ended is not None and job.ended <= until
