"""Which jobs the board shows, in which order, and what is selected: no widget, no time but what it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from corral.client.snapshot import Snapshot
from corral.model.job import Job, place_of
from corral.model.urgency import ended_badly, is_stuck, needs_a_human, urgency
from corral_tui.settings.dashboard import Order
from corral_tui.text.charset import Role

ORDERS: tuple[Order, ...] = ("started", "name", "status", "cpu", "mem", "procs", "out", "time")
MOVING: frozenset[Order] = frozenset({"status", "cpu", "mem", "procs", "out"})
"""Orders whose values change by themselves: the list must not move under the hand."""
HOLD_SECONDS = 3.0
ENDED_BEFORE = 10
"""How many ended jobs are listed where nothing runs."""
_STATES = ("failed", "timed_out", "lost", "stopping", "paused", "running", "queued", "stopped", "succeeded")


def _ended_well(job: Job) -> bool:
    """Ended so that nobody needs to look: folded into one line."""
    return job.is_ended and not ended_badly(job)


def _status_key(job: Job) -> object:
    return not is_stuck(job), not ended_badly(job), _STATES.index(job.state), place_of(job.id)


_KEYS: dict[Order, Callable[[Job], object]] = {
    "started": lambda job: place_of(job.id),
    "name": lambda job: (job.title.lower(), place_of(job.id)),
    "status": _status_key,
    "cpu": lambda job: (-(job.cpu_percent or 0.0), place_of(job.id)),
    "mem": lambda job: (-(job.memory_bytes or 0), place_of(job.id)),
    "procs": lambda job: (-job.processes, place_of(job.id)),
    "out": lambda job: (-(job.output_bytes_per_second or 0.0), place_of(job.id)),
    "time": lambda job: (-_age(job), place_of(job.id)),
}


def order_words(order: Order, *, is_reversed: bool) -> tuple[tuple[str, Role], ...]:
    """What line 2 says of an order: where it stands among all of them, and what comes next."""
    line: list[tuple[str, Role]] = [("order: ", "plain")]
    for each in ORDERS:
        is_it = each == order
        words = f"[{each}{', reversed' if is_reversed else ''}]" if is_it else each
        line += [(words, "key" if is_it else "muted"), (" ", "plain")]
    return (*line, ("  o", "key"), (" next ", "muted"), ("O", "key"), (" turns", "muted"))


def _age(job: Job) -> float:
    """Bigger is older; jobs that never started come last."""
    if job.ended is not None:
        return job.elapsed or 0.0
    return -job.started.timestamp() + 1e11 if job.started else 0.0


def _newest_first(jobs: list[Job]) -> list[Job]:
    return sorted(
        jobs, key=lambda job: (job.ended.timestamp() if job.ended else 0.0, place_of(job.id)), reverse=True
    )


class Model:
    """The board's state."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.shown: list[Job] = []
        self.folded: list[Job] = []
        """Ended well or stopped, not shown but in the one line."""
        self.filter = ""
        self.order: Order = "started"
        self.is_reversed = False
        self.shows_ended = False
        self.selected_id: str | None = None
        self.marks: set[str] = set()
        self.looked_at: set[str] = set()
        """Jobs that ended badly and that the user has looked at since."""
        self.is_empty = False
        """Nothing runs: `shown` then holds what ended before, the newest first."""
        self.capacity = 12
        """How many jobs there is room for; ended ones stay in view while there is."""
        self._kept: dict[str, None] = {}
        self._sorted_at: datetime | None = None
        self._touched_at: datetime | None = None
        self._sequence: list[str] = []
        self._last_index = 0
        self._before_filter: str | None = None
        """What was selected when the filter began; nobody has selected another one since."""

    # ---- reading ----

    @property
    def selected(self) -> Job | None:
        return self.snapshot.jobs.get(self.selected_id) if self.selected_id else None

    @property
    def index(self) -> int:
        """Where the selected job stands among those shown; -1 where it is not."""
        for number, job in enumerate(self.shown):
            if job.id == self.selected_id:
                return number
        return -1

    @property
    def marked(self) -> tuple[Job, ...]:
        """The marked jobs that are still there, in the order of their numbers."""
        jobs = self.snapshot.jobs
        return tuple(jobs[each] for each in sorted(self.marks & jobs.keys(), key=place_of))

    @property
    def hidden_marked(self) -> frozenset[str]:
        """The marked jobs that the filter or a fold hides."""
        return frozenset(self.marks - {job.id for job in self.shown}) if self.marks else frozenset()

    @property
    def listed_queued(self) -> int:
        """How many queued jobs are known here: the first of them."""
        return sum(job.state == "queued" for job in self.snapshot.jobs.values())

    @property
    def unlisted_queued(self) -> int:
        """How many more there are."""
        return max(self.snapshot.queued - self.listed_queued, 0)

    def urgent(self) -> list[Job]:
        """The jobs that need a human, the most urgent first, without those that were looked at since they ended."""
        jobs = (job for job in self.snapshot.jobs.values() if needs_a_human(job))
        return sorted((job for job in jobs if not job.hidden and job.id not in self.looked_at), key=urgency)

    # ---- changing ----

    def apply(self, snapshot: Snapshot, now: datetime) -> None:
        """Take a newer snapshot."""
        before, self.snapshot = self.snapshot.jobs, snapshot
        for job_id, job in snapshot.jobs.items():
            old = before.get(job_id)
            if old is not job and old is not None and job.is_ended and not old.is_ended:
                self._kept[job_id] = None
        self.marks &= snapshot.jobs.keys()
        self.arrange(now)

    def touch(self, now: datetime) -> None:
        """The user's hand is on it: rows stay where they are for a while."""
        self._touched_at = now

    def sort_by(self, order: Order, now: datetime) -> None:
        """Sort by a column; by the same one again: the other way round."""
        if order == self.order:
            self.is_reversed = not self.is_reversed
        else:
            self.order, self.is_reversed = order, False
        self.arrange(now, is_forced=True)

    def reverse(self, now: datetime) -> None:
        self.is_reversed = not self.is_reversed
        self.arrange(now, is_forced=True)

    def filter_by(self, text: str, now: datetime) -> None:
        """Show only jobs with these letters in id, name, command or state. A job that it hides is selected again when it is
        seen again, unless another one was chosen meanwhile."""
        if text and not self.filter:
            self._before_filter = self.selected_id
        self.filter = text
        self.arrange(now, is_forced=True)
        if self._before_filter in {job.id for job in self.shown}:
            self.selected_id = self._before_filter
            self._last_index = self.index

    def show_ended(self, is_shown: bool, now: datetime) -> None:
        self.shows_ended = is_shown
        self.arrange(now)

    def select(self, job_id: str | None) -> None:
        self.selected_id, self._before_filter = job_id, None
        job = self.selected
        if job is not None and job.is_ended:
            self.looked_at.add(job.id)
        index = self.index
        if index >= 0:
            self._last_index = index

    def move(self, by: int) -> None:
        """Select the job so many places on, stopping at the ends."""
        self.move_to(max(self.index, 0) + by if self.index >= 0 else 0)

    def move_to(self, index: int) -> None:
        if self.shown:
            self.select(self.shown[min(max(index, 0), len(self.shown) - 1)].id)

    def next_urgent(self) -> Job | None:
        """Select the next job that needs a human: after the selected one where that is stuck, else the most urgent."""
        if self.selected is not None and self.selected.is_ended:
            # It may have ended under the hand, or been the first to be shown.
            self.looked_at.add(self.selected.id)
        urgent = self.urgent()
        if not urgent:
            return None
        ids = [job.id for job in urgent]
        place = ids.index(self.selected_id) + 1 if self.selected_id in ids else 0
        chosen = urgent[place % len(urgent)]
        self.select(chosen.id)
        return chosen

    def toggle_mark(self) -> None:
        if self.selected_id is not None:
            self.marks ^= {self.selected_id}

    # ---- arranging ----

    def arrange(self, now: datetime, *, is_forced: bool = False) -> None:
        """Recompute `shown` and `folded`. While the user is moving through the rows, none of them changes its place."""
        wanted: list[Job] = []
        folded: list[Job] = []
        for job in self.snapshot.jobs.values():
            if job.hidden:
                continue
            if self._is_folded(job):
                folded.append(job)
            elif self._matches(job):
                wanted.append(job)
        self._let_go_of_kept(wanted, folded)
        self.folded = folded
        self.is_empty = self._shows_nothing(wanted)
        if self.is_empty:
            self.shown = _newest_first(wanted + folded)[:ENDED_BEFORE]
        else:
            self.shown = self._sorted(wanted, now, is_forced)
        self._settle_selection()

    def _shows_nothing(self, wanted: list[Job]) -> bool:
        """Whether nothing runs, and nothing has ended while this dashboard was open that is still in view."""
        if self.filter or self.shows_ended:
            return False
        return all(job.is_ended and not job.leftovers and job.id not in self._kept for job in wanted)

    def matches(self) -> int:
        """How many jobs the filter finds, folded ones included."""
        return sum(1 for job in self.snapshot.jobs.values() if not job.hidden and self._matches(job))

    def _is_folded(self, job: Job) -> bool:
        if not _ended_well(job) or job.leftovers or self.shows_ended:
            return False
        if self.filter and self._matches(job):
            return False
        return job.id not in self._kept

    def _matches(self, job: Job) -> bool:
        if not self.filter:
            return True
        wanted = self.filter.lower()
        health = job.health or ""
        return (
            wanted in job.title.lower()
            or wanted in job.command.lower()
            or wanted == job.id
            or job.state.startswith(wanted)
            or health.startswith(wanted)
        )

    def _let_go_of_kept(self, wanted: list[Job], folded: list[Job]) -> None:
        """Ended jobs make room for those that have not ended, the first to end first."""
        if self.shows_ended or self.filter:
            return
        surplus = len(wanted) - self.capacity
        for job_id in list(self._kept):
            if surplus <= 0:
                return
            job = self.snapshot.jobs.get(job_id)
            if job is not None and (not _ended_well(job) or job_id == self.selected_id):
                continue
            del self._kept[job_id]
            if job in wanted and job is not None:
                wanted.remove(job)
                folded.append(job)
                surplus -= 1

    def _sorted(self, jobs: list[Job], now: datetime, is_forced: bool) -> list[Job]:
        if self.order in MOVING and not is_forced and not self._may_sort(now):
            return self._in_held_order(jobs)
        if self.order != "started" or self.is_reversed:
            jobs = sorted(jobs, key=_KEYS[self.order], reverse=self.is_reversed)  # type: ignore[arg-type]
        self._sorted_at = now
        if self.order in MOVING:
            self._sequence = [job.id for job in jobs]
        return jobs

    def _may_sort(self, now: datetime) -> bool:
        return all(
            at is None or abs((now - at).total_seconds()) >= HOLD_SECONDS
            for at in (self._sorted_at, self._touched_at)
        )

    def _in_held_order(self, jobs: Iterable[Job]) -> list[Job]:
        places = {job_id: place for place, job_id in enumerate(self._sequence)}
        return sorted(jobs, key=lambda job: (places.get(job.id, len(places)), place_of(job.id)))

    def _settle_selection(self) -> None:
        """A job that is no longer shown leaves the selection to the one at its place."""
        index = self.index
        if index >= 0:
            self._last_index = index
        elif self.shown:
            self.selected_id = self.shown[min(self._last_index, len(self.shown) - 1)].id
        else:
            self.selected_id = None
