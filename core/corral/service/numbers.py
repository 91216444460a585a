"""Numbers of the protocol, apart from its types, so that who needs the numbers alone does not load those."""

from __future__ import annotations

PROTOCOL = 1
"""Client and daemon must agree on it; it grows with every change that an older side would misread."""
NEWEST_ENDED = 1000
"""Ended jobs that a subscriber is told of at first, and that it keeps."""
