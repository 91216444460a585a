"""`corral send`: text for a job that was started with `-i` or `--pty`."""

from __future__ import annotations

import errno
import os
import sys

import click

from corral.service.client import Client
from corral.service.protocol import CloseInput, OpenInput
from corral.values.errors import CorralError, NotSoError, UsageError
from corral_tui.cli import reach
from corral_tui.cli.options import id_argument
from corral_tui.cli.usable import reads_input

_CHUNK = 1 << 16


@click.command(
    "send",
    short_help="Write a line to the stdin or the terminal of a job.",
    epilog="Example: corral send ask yes",
)
@click.option("-n", "no_newline", is_flag=True, help="Add no newline.")
@click.option("--eof", is_flag=True, help="Close the job's stdin afterwards.")
@id_argument(usable=reads_input)
@click.argument("text", metavar="[TEXT|-]", required=False)
def command(no_newline: bool, eof: bool, job: str, text: str | None) -> int:
    """Write TEXT and a newline to the stdin of a job started with `run -i`; `-` sends our stdin as it is.

    To a job started with `run --pty` it is typed: TEXT and the enter key; --eof types ctrl+d.

    A job that does not read keeps its sender waiting, and nobody else.
    """
    if text is None and not eof:
        raise UsageError("send: nothing to send; give a text, - for stdin, or --eof")
    with reach.daemon() as client:
        if text is not None:
            _send(client, job, text, no_newline)
        if eof:
            client.call(CloseInput(job=job))
    return 0


def _send(client: Client, job: str, text: str, no_newline: bool) -> None:
    client.call(OpenInput(job=job))
    received = client.received_descriptors()
    if not received:
        raise CorralError(f"job {job}: the daemon sent no way to its stdin; see corral daemon log")
    target = received[0]
    try:
        if text == "-":
            _copy(sys.stdin.fileno(), target)
        else:
            # The enter key sends a carriage return; who reads lines gets it as a line feed (ICRNL, termios(3)).
            newline = b"\r" if os.isatty(target) else b"\n"
            _write_all(target, os.fsencode(text) + (b"" if no_newline else newline))
    except OSError as error:
        # EIO: a terminal whose session's leader has just gone.
        if error.errno not in (errno.EPIPE, errno.EIO):
            raise
        raise NotSoError(f"job {job}: it does not read its stdin any more; not everything was sent") from None
    finally:
        for descriptor in received:
            os.close(descriptor)


def _copy(source: int, target: int) -> None:
    while chunk := os.read(source, _CHUNK):
        _write_all(target, chunk)


def _write_all(target: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[_written(target, view) :]


def _written(target: int, data: memoryview) -> int:
    """How much a write took. The description is shared with the daemon, which may have made it O_NONBLOCK."""
    import select

    try:
        return os.write(target, data)
    except BlockingIOError:
        poller = select.poll()
        poller.register(target, select.POLLOUT)
        poller.poll()
        return 0
