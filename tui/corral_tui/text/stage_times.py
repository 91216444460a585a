"""What a stage spends its time on, as text, for the dashboard and `corral show`."""

from __future__ import annotations

from corral.model.job import Job, Stage, StageTime
from corral_tui.text.numbers import cells

LEAST = 0.01


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
    return [largest[0], *(one for one in largest[1:2] if one[0] >= LEAST)]
