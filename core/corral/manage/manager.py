"""The name that the engine had."""

from corral.manage.engine import Engine as Manager

__all__ = ["Manager"]
