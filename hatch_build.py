"""Writes the manual page before a wheel is made: `man corral` finds it in share/man beside bin/."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ManualPage(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        sys.path[:0] = [str(root / "core"), str(root / "tui")]
        from corral_tui.cli.manual_page import manual_page

        page = root / "build" / "corral.1"
        page.parent.mkdir(exist_ok=True)
        page.write_text(manual_page(f"{_moment():%Y-%m-%d}"), encoding="ascii")


def _moment() -> datetime:
    """Now, or what makes two builds alike (reproducible-builds.org/docs/source-date-epoch)."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    return datetime.fromtimestamp(int(given), UTC) if given else datetime.now(UTC)
