"""Line 2: the most urgent job and its root cause, else what happened last, else a hint."""

from __future__ import annotations

from datetime import datetime

from corral.client.snapshot import Snapshot
from corral.model.job import Job
from corral.model.urgency import ended_badly
from corral_tui.dashboard.board.view_state import ViewState
from corral_tui.dashboard.paint.job_words import end_reason, title
from corral_tui.dashboard.paint.lines import Spans, clean, cut, width_of
from corral_tui.text.charset import Charset, stuck_label
from corral_tui.text.numbers import duration

SAID_SECONDS = 6.0
"""How long the answer to a key is shown in place of what is urgent."""


class Events:
    """What happened last, in words."""

    def __init__(self) -> None:
        self._text: Spans = ()
        self._said_at: datetime | None = None

    def say(self, text: str, now: datetime) -> None:
        """An answer to what the user just did."""
        self.show(((clean(text), "plain"),), now)

    def show(self, line: Spans, now: datetime) -> None:
        """The same, as spans."""
        self._text, self._said_at = line, now

    def note(self, event: Spans) -> None:
        """An event that the user did not cause; it does not replace a fresh answer."""
        if self._said_at is None:
            self._text = event

    def fresh(self, now: datetime) -> Spans | None:
        """The latest message, while it is still fresh."""
        if self._said_at is not None and (now - self._said_at).total_seconds() > SAID_SECONDS:
            self._said_at = None
        return self._text if self._said_at is not None else None

    @property
    def last(self) -> Spans:
        return self._text

    def follow(self, before: Snapshot, after: Snapshot, charset: Charset) -> bool:
        """Note what changed between two snapshots; whether a job came, went, or changed its state."""
        has_changed = before.jobs.keys() != after.jobs.keys() or before.trouble != after.trouble
        for job_id, job in after.jobs.items():
            old = before.jobs.get(job_id)
            if old is job or old is None:
                continue
            if old.state != job.state or old.health != job.health or old.hidden != job.hidden:
                has_changed = True
                event = _event(old, job, charset)
                if event:
                    self.note(event)
        return has_changed


def _event(old: Job, job: Job, charset: Charset) -> Spans | None:
    name = f"{job.id} {title(job)}"
    if job.is_ended and not old.is_ended:
        if ended_badly(job):
            return (
                (f"{charset.failed} ", "error"),
                (name, "bold"),
                (f"   {end_reason(job) or job.state}", "plain"),
            )
        mark = charset.succeeded if job.state == "succeeded" else charset.stopping
        words = "ended well" if job.state == "succeeded" else "stopped"
        return ((f"{mark} {name} {words} after {duration(job.elapsed)}", "muted"),)
    if job.state == "paused":
        return ((f"{charset.paused} {name} is paused; p lets it go on", "muted"),)
    if old.state == "paused" and job.state == "running":
        return ((f"{charset.active} {name} goes on", "muted"),)
    if old.state == "queued" and job.state == "running":
        return ((f"{charset.active} {name} has started", "muted"),)
    if old.health == "stuck" and job.health in ("active", "waiting"):
        return ((f"{charset.active} {name} moves again", "muted"),)
    return None


def sentence(view_state: ViewState, events: Events, width: int, prompt: Spans | None = None) -> Spans:
    """The line, in at most `width` cells. `prompt` is a filter being typed, or what it found."""
    fresh = events.fresh(view_state.now)
    ellipsis = view_state.charset.ellipsis
    if prompt is not None:
        return cut(((" ", "plain"), *prompt), width, ellipsis)
    if view_state.model.snapshot.trouble:
        return cut(fresh or _trouble(view_state, view_state.model.snapshot.trouble), width, ellipsis)
    if fresh is not None:
        return cut(((" ", "plain"), *fresh), width, ellipsis)
    urgent = view_state.model.urgent()
    if urgent:
        return _urgent(view_state, urgent, width)
    if events.last:
        return cut(((" ", "plain"), *events.last), width, ellipsis)
    return cut(_hint(view_state), width, ellipsis)


def _trouble(view_state: ViewState, trouble: str) -> Spans:
    jobs = "q leaves and ends what it ran" if view_state.is_private else "jobs go on without it"
    return (
        (f" {jobs}; you see the last known state", "warning"),
        (f" ({clean(trouble)})", "muted"),
    )


def _hint(view_state: ViewState) -> Spans:
    if not view_state.is_ready or view_state.model.is_empty or not view_state.model.shown:
        return ()
    return (
        (" n", "key"),
        (" starts something   ", "muted"),
        ("enter", "key"),
        (" opens a job   ", "muted"),
        ("s", "key"),
        (" stops it   ", "muted"),
        ("?", "key"),
        (" all keys   ", "muted"),
        ("q", "key"),
        (f" leaves, {'ends the jobs' if view_state.is_private else 'jobs go on'}", "muted"),
    )


def _urgent(view_state: ViewState, urgent: list[Job], width: int) -> Spans:
    """`▐STUCK▌ 4 fetch-index   curl waits for …      w why   s stop   ! next one (2)`"""
    job, is_wide = urgent[0], width >= 100
    keys = _keys(job, len(urgent), is_wide=is_wide, is_selected=job.id == view_state.model.selected_id)
    room = width - width_of(keys) - 1
    status = view_state.status(job)
    head: Spans = (
        (*stuck_label(view_state.charset),)
        if status.is_stuck
        else ((f"{status.mark} {status.short}", "error-alert"),)
    )
    why = clean((job.summary if status.is_stuck else end_reason(job, is_behind_status=True)) or "")
    gap = ("   " if is_wide else ": ") if why else ""
    name: Spans = ((f" {job.id} {title(job)}", "bold"), (gap, "plain"))
    line = cut(((" ", "plain"), *head, *name, (why, "plain")), room, view_state.charset.ellipsis)
    missing = width - width_of((*line, *keys))
    return (*line, (" " * max(missing, 0), "plain"), *keys)


def _keys(job: Job, number: int, *, is_wide: bool, is_selected: bool) -> Spans:
    """Keys that act on the selected job stand here only where that is the job of the sentence."""
    more = f" ({number})" if number > 1 else ""
    there = ("next one" if is_selected else "goes there") + more if is_wide else more.strip()
    go: Spans = (("!", "key"), (f" {there} " if there else " ", "muted"))
    if is_selected and number == 1:
        go = ()
    if not is_selected:
        return (("   " if is_wide else "  ", "plain"), *go)
    act, word = ("r", "restart") if job.is_ended else ("s", "stop")
    if not is_wide:
        return (("  w", "key"), (f"  {act}  ", "key"), *go)
    return (("   w", "key"), (" why   ", "muted"), (act, "key"), (f" {word}   ", "muted"), *go)
