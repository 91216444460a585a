"""Lazy imports by name: `corral ps` must wait neither for click nor for Textual."""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # typing, which has it, takes longer to load than the rest of `ps`
if TYPE_CHECKING:
    from typing import Any


def load(path: str) -> Any:
    """The object `package.module:name`; imports its module if necessary."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)
