"""Corral: run child processes and pipelines of them, watch them, say why one hangs, and end it for good."""

from __future__ import annotations

__version__ = "0.1.0"
