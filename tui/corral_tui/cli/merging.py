"""Both streams of one job on stdout, in the order in which they came."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from corral.observe.ordering import Merged
from corral_tui.cli.copying import Outlet, Transform


class Watched:
    """What is done with one of the streams, and what hears of its losses."""

    def __init__(
        self, transform: Transform, on_drop: Callable[[int], None], on_shorter: Callable[[], None]
    ) -> None:
        self.transform, self.on_drop, self.on_shorter = transform, on_drop, on_shorter


class MergedStream:
    """For a `Copier`, as one `Stream`."""

    def __init__(self, merged: Merged, outlet: Outlet, watched: Sequence[Watched]) -> None:
        self.outlet = outlet
        self._merged = merged
        self._watched = watched
        self._ends: list[int] | None = None
        self.is_read = False

    def fix_end(self) -> None:
        """What is written to the files after this moment is not copied."""
        if self._ends is None:
            self._ends = self._merged.sizes()

    def read_some(self) -> bool:
        """Read a piece into the outlet, if that has room; whether there was any."""
        if self.is_read or self.outlet.is_full:
            return False
        found = self._merged.read(ends=self._ends)
        if found is None:
            if self._ends is not None:
                self.outlet.put(b"".join(each.transform.flush() for each in self._watched))
                self.is_read = True
            return False
        number, chunk = found
        watched = self._watched[number]
        if chunk.begins_anew:
            watched.on_shorter()
        if chunk.dropped:
            watched.on_drop(chunk.dropped)
        self.outlet.put(watched.transform.feed(chunk.data))
        return True

    def close(self) -> None:
        self._merged.close()
