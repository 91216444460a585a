"""One output file of a running job, as it was looked at last: what it held, and what was lost when it was made shorter."""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec import Struct

from corral.observe.traces import Fingerprint, Piece


class HandedStream(Struct, frozen=True):
    """One output file on its way to the program that takes our place, or, without pieces, to a daemon after a crash."""

    end: int
    lost: int = 0
    times: int = 0
    position: int = 0
    pieces: tuple[Piece, ...] = ()
    held: bool = False
    has_tripwire: bool = False


@dataclass(slots=True)
class Stream:
    """One output file of a running job."""

    trace: Fingerprint = field(default_factory=Fingerprint)
    lost: int = 0
    """At least so many bytes, by all the times that it was made shorter."""
    times: int = 0
    position: int = 0
    """Of the stage's descriptor, when the file was found to be shorter: what it tells is counted."""
    held: bool = False
    """Something stood in it before anybody opened it anew, so that what empties it takes something away."""

    @classmethod
    def handed(cls, handed: HandedStream) -> Stream:
        trace = Fingerprint(handed.end, handed.pieces)
        return cls(trace, handed.lost, handed.times, handed.position, handed.held)

    def to_hand(self, *, has_tripwire: bool) -> HandedStream:
        pieces = self.trace.pieces
        return HandedStream(
            end=self.trace.end,
            lost=self.lost,
            times=self.times,
            position=self.position,
            pieces=(*pieces[:1], *pieces[1:][-1:]),
            held=self.held,
            has_tripwire=has_tripwire,
        )
