"""What happens to a job's output on its way to us: made fit for a terminal, and marked with the job's name."""

from __future__ import annotations

import os

from corral.values.text import VisibleStream
from corral_tui.cli.copying import AsItIs, Transform

LONGEST_LINE = 1 << 16
"""Bytes of a line without an end that are held back to be printed as one piece."""


def transform_for(descriptor: int, prefix: str, *, raw: bool) -> Transform:
    """The way to `descriptor`: bytes as they are into a file or a pipe, made visible on a terminal unless `raw`."""
    safe: Transform = VisibleStream() if os.isatty(descriptor) and not raw else AsItIs()
    return Prefixed(os.fsencode(prefix), safe) if prefix else safe


class Prefixed:
    """A prefix before every line, and only whole lines: those of several jobs share one descriptor."""

    def __init__(self, prefix: bytes, inner: Transform) -> None:
        self._prefix = prefix
        self._inner = inner
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        return self._whole_lines(self._inner.feed(data))

    def flush(self) -> bytes:
        lines = self._whole_lines(self._inner.flush())
        held, self._held = self._held, b""
        return lines + (self._prefix + held + b"\n" if held else b"")

    def _whole_lines(self, data: bytes) -> bytes:
        text = self._held + data
        end = text.rfind(b"\n") + 1
        if not end and len(text) > LONGEST_LINE:
            end = len(text)
        self._held = text[end:]
        lines = text[:end].split(b"\n")
        if not lines[-1]:
            lines.pop()
        return b"".join(self._prefix + line + b"\n" for line in lines)
