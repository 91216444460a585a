"""One job, opened: its pipeline, output, tree, charts, why and about."""

from __future__ import annotations

from corral_tui.dashboard.opened.screen import JobScreen

__all__ = ["JobScreen"]
