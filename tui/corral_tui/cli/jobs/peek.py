"""`corral peek`: what the pipes of a running job contain."""

from __future__ import annotations

import sys

import click

from corral.model.errors import NotSoError
from corral.model.reports import PeekedPipe
from corral.model.text import readable_lines
from corral.protocol.requests import PeekPipes
from corral_tui.cli.support import connect
from corral_tui.cli.support.options import SIZE, id_argument
from corral_tui.cli.support.usable_jobs import has_pipes
from corral_tui.text import numbers
from corral_tui.text.columns import lay_out
from corral_tui.text.terminal_output import say, visible, width_of

_HEADER = ("PIPE", "FROM", "TO", "FILL", "CAPACITY", "NOTE")


@click.command(
    "peek",
    epilog="\b\nExample: corral peek nightly-dump 1\n         corral peek --bytes 4K nightly-dump 2",
)
@click.option("--bytes", "limit", type=SIZE, help="Show the oldest N bytes in the pipe, 1M at most.")
@click.option("--hex", "as_hex", is_flag=True, help="As a hex dump, text or not.")
@id_argument(usable=has_pipes)
@click.argument("pipe", metavar="[PIPE]", type=click.IntRange(min=1), required=False)
def command(job: str, pipe: int | None, limit: int | None, as_hex: bool) -> int:
    """Print how full the pipes of a job are now; nothing is taken out. Pipe N is the output of stage N.

    With --bytes, print the bytes in the pipe: as text or as a hex dump on a terminal, else unchanged.
    """
    with connect.daemon() as client:
        pipes = client.call(PeekPipes(job=job, pipe=pipe, bytes=limit)).pipes
    if not pipes:
        raise NotSoError(
            f"job {job}: it has no pipes; only a running pipeline of two or more stages has some"
        )
    if limit is not None:
        return _print_content(job, pipes, as_hex=as_hex)
    rows = [_row(found) for found in pipes]
    say(*lay_out(_HEADER, rows, frozenset({0, 1, 2, 3, 4}), width_of(sys.stdout)))
    return 0


def _print_content(job: str, pipes: tuple[PeekedPipe, ...], *, as_hex: bool) -> int:
    """The bytes of one pipe, or of several one after the other."""
    if sys.stdout.isatty() or as_hex:
        for found in pipes:
            if len(pipes) > 1:
                say(f"pipe {found.number}: {_fill_text(found)}")
            say(*readable_lines(found.content or b"", as_hex=as_hex))
    elif len(pipes) > 1:
        choices = ", ".join(str(found.number) for found in pipes)
        raise NotSoError(
            f"job {job} has several pipes; choose one of {choices}: corral peek --bytes N {job} 1"
        )
    else:
        sys.stdout.buffer.write(pipes[0].content or b"")
        sys.stdout.buffer.flush()
    missing = [found for found in pipes if found.content is None]
    if missing and len(pipes) == 1:
        raise NotSoError(
            f"job {job}, pipe {missing[0].number}: {missing[0].note or 'Corral may not look into it'}"
        )
    return 0


def _fill_text(pipe: PeekedPipe) -> str:
    if pipe.content is None:
        return pipe.note or "not permitted to look"
    return f"{numbers.size(pipe.fill_bytes)} of {numbers.size(pipe.capacity_bytes)}"


def _row(pipe: PeekedPipe) -> tuple[str, ...]:
    return (
        str(pipe.number),
        str(pipe.from_stage),
        str(pipe.to_stage),
        numbers.size(pipe.fill_bytes),
        numbers.size(pipe.capacity_bytes),
        visible(pipe.note or "-"),
    )
