"""The time by both clocks, for the events of the state machine."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TypedDict


class Moment(TypedDict):
    """The two times of an event: by the wall clock for people, by the monotonic clock for measuring."""

    at: datetime
    now: float


def moment() -> Moment:
    """Now."""
    return {"at": datetime.now(UTC), "now": time.monotonic()}
