"""The sheets that dock at the bottom, over the list. Each is imported when it is first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from corral_tui.dashboard.sheets.answer import AnswerSheet
    from corral_tui.dashboard.sheets.prompt import PromptSheet
    from corral_tui.dashboard.sheets.quit import QuitSheet
    from corral_tui.dashboard.sheets.restart import RestartSheet
    from corral_tui.dashboard.sheets.signal import SignalSheet
    from corral_tui.dashboard.sheets.stop import StopSheet

__all__ = ["AnswerSheet", "PromptSheet", "QuitSheet", "RestartSheet", "SignalSheet", "StopSheet"]

_MODULES = {
    "AnswerSheet": "answer",
    "PromptSheet": "prompt",
    "QuitSheet": "quit",
    "RestartSheet": "restart",
    "SignalSheet": "signal",
    "StopSheet": "stop",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
