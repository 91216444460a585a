"""What the command line and the dashboard both say of a diagnosis."""

from __future__ import annotations

from datetime import datetime

from corral.model.reports import Diagnosis


def kept_heading(diagnosis: Diagnosis) -> str:
    """The heading of an ended job's kept diagnosis: when it was made, and that the job has ended since."""
    kept = diagnosis.kept
    assert kept is not None
    ended = "" if diagnosis.ended is None else f"it ended {_date(diagnosis.ended)}; "
    what = "when it was last stuck" if kept.health == "stuck" else "what it waited for when it was ended"
    taken = "" if kept.taken is None else f", at {_date(kept.taken)}"
    text = f"{ended}{what}{taken}:"
    return text[0].upper() + text[1:]


def _date(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"
