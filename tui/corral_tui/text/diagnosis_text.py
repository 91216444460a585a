"""What the command line and the dashboard both say of a diagnosis."""

from __future__ import annotations

from corral.model.reports import Diagnosis
from corral_tui.text.phrases import moment


def kept_heading(diagnosis: Diagnosis) -> str:
    """The heading of an ended job's kept diagnosis: when it was made, and that the job has ended since."""
    kept = diagnosis.kept
    assert kept is not None
    ended = "" if diagnosis.ended is None else f"it ended {moment(diagnosis.ended)}; "
    what = "when it was last stuck" if kept.health == "stuck" else "what it waited for when it was ended"
    taken = "" if kept.taken is None else f", at {moment(kept.taken)}"
    text = f"{ended}{what}{taken}:"
    return text[0].upper() + text[1:]
