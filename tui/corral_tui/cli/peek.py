"""`corral peek`: what stands in the pipes of a job now."""

from __future__ import annotations

import sys

import click

from corral.service.protocol import PeekPipes
from corral.values.errors import NotSoError
from corral.values.reports import PeekedPipe
from corral_tui import numbers
from corral_tui.cli import reach
from corral_tui.cli.columns import lay_out
from corral_tui.cli.options import id_argument
from corral_tui.cli.plain import say, visible, width_of

_HEADER = ("PIPE", "FROM", "TO", "FILL", "CAPACITY", "NOTE")


@click.command("peek", epilog="Example: corral peek nightly-dump 1")
@id_argument()
@click.argument("pipe", metavar="[PIPE]", type=click.IntRange(min=1), required=False)
def command(job: str, pipe: int | None) -> int:
    """Print how full the pipes of a job are now, taking nothing out. Pipe N leaves stage N."""
    with reach.daemon() as client:
        pipes = client.call(PeekPipes(job=job, pipe=pipe)).pipes
    if not pipes:
        raise NotSoError(
            f"job {job}: it has no pipes; one stands between each two stages of a running pipeline"
        )
    rows = [_row(found) for found in pipes]
    for line in lay_out(_HEADER, rows, frozenset({0, 1, 2, 3, 4}), width_of(sys.stdout)):
        say(line)
    return 0


def _row(pipe: PeekedPipe) -> tuple[str, ...]:
    return (
        str(pipe.number),
        str(pipe.from_stage),
        str(pipe.to_stage),
        numbers.size(pipe.fill_bytes),
        numbers.size(pipe.capacity_bytes),
        visible(pipe.note or "-"),
    )
