"""What the command line and the dashboard both say of a diagnosis, and of what a stage spends its time on."""

from __future__ import annotations

from corral.model.job import Job, Stage, StageTime
from corral.model.reports import Diagnosis
from corral_tui.text.numbers import cells
from corral_tui.text.phrases import moment

LEAST_SHARE = 0.01


def kept_heading(diagnosis: Diagnosis) -> str:
    """The heading of an ended job's kept diagnosis: when it was made, and that the job has ended since."""
    kept = diagnosis.kept
    assert kept is not None
    ended = "" if diagnosis.ended is None else f"it ended {moment(diagnosis.ended)}; "
    what = "when it was last stuck" if kept.health == "stuck" else "what it waited for when it was ended"
    taken = "" if kept.taken is None else f", at {moment(kept.taken)}"
    text = f"{ended}{what}{taken}:"
    return text[0].upper() + text[1:]


def time_words(job: Job, stage: Stage, room: int) -> str | None:
    """What a stage of a running pipeline does; None if what it waits for now says more."""
    if stage.time is None or job.health != "active" or stage.ended is not None:
        return None
    return share_words(stage.time, room)


def share_words(time: StageTime, room: int = 80) -> str:
    """`runs 97 %, waits for input 3 %`: the two largest shares, shortened to fit `room`."""
    shares = _shares(time)
    full = ", ".join(f"{long} {share:.0%}" for share, long, _ in shares)
    short = ", ".join(f"{word} {share:.0%}" for share, _, word in shares)
    share, _, word = shares[0]
    forms = (full.replace("%", " %"), short.replace("%", " %"), f"{word} {share:.0%}".replace("%", " %"))
    return next((form for form in forms if cells(form) <= room), forms[-1])


def _shares(time: StageTime) -> list[tuple[float, str, str]]:
    """The two largest shares, each with a long and a short wording."""
    found = [
        (time.run, "runs", "runs"),
        (time.input, "waits for input", "for input"),
        (time.output, "waits for room", "for room"),
        (time.other, "waits for something else", "for other"),
    ]
    largest = sorted(found, key=lambda one: -one[0])
    return [largest[0], *(one for one in largest[1:2] if one[0] >= LEAST_SHARE)]
