"""The one door to what is imported only when it is used: `corral ps` waits neither for click nor for Textual."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def load(path: str) -> Any:
    """What `package.module:name` names; its module is imported now, if it was not before."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)
