"""Numbers of the protocol, apart from its types: `corral ps` needs only these, and must not load msgspec."""

from __future__ import annotations

PROTOCOL = 1
"""Client and daemon must agree on it; it is incremented with every change that an older side would misread."""
HANDOVER = 3
"""Of the table that a daemon hands to the program which takes its place. It grows with every change after which an older table
would be misread; `corral.engine.handover` reads those."""
FIRST_QUEUED = 500
"""Queued jobs that a screen is told of until it asks for more."""
NEWEST_ENDED = 1000
"""Ended jobs in the first snapshot for a subscriber, which keeps no more than that."""
