"""`corral send`: text for a job that was started with `-i` or `--pty`."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator

import click

from corral.client.blocking import Client
from corral.model.errors import CorralError, NotSoError, UsageError
from corral.platform.files.stdin_writer import Sender
from corral.protocol.requests import CloseInput, OpenInput
from corral_tui.cli.support import connect
from corral_tui.cli.support.errors import complain
from corral_tui.cli.support.options import id_argument
from corral_tui.cli.support.usable_jobs import reads_input

_CHUNK = 1 << 16
_NOTICE_AFTER = 2.0


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
    """Write TEXT and a newline to the stdin of a job started with `run -i`; `-` sends the stdin of this command.

    In a job started with `run --pty`, type TEXT and the enter key; --eof types ctrl+d.

    If the job does not read, this command waits until it does.
    """
    if text is None and not eof:
        raise UsageError("send: nothing to send; give a text, - for stdin, or --eof")
    with connect.daemon() as client:
        if text is not None:
            _send(client, job, text, no_newline=no_newline, eof=eof)
        if eof:
            client.call(CloseInput(job=job))
    return 0


def _send(client: Client, job: str, text: str, *, no_newline: bool, eof: bool) -> None:
    client.call(OpenInput(job=job))
    received = client.received_descriptors()
    if not received:
        raise CorralError(f"job {job}: the daemon did not pass on its stdin; see corral daemon log")
    target = received[0]
    sender = Sender(target, _SlowReaderNotice(job))
    try:
        for piece in _pieces(text, b"" if no_newline else b"\r" if os.isatty(target) else b"\n"):
            sender.send(piece)
        if eof:
            sender.hand_over()
    except NotSoError as error:
        raise NotSoError(f"job {job}: {error}; {_progress_text(sender)}") from None
    except KeyboardInterrupt:
        complain(f"job {job}: {_progress_text(sender)}")
        raise
    except OSError as error:
        # EIO: a terminal whose session's leader has just gone.
        if error.errno not in (errno.EPIPE, errno.EIO):
            raise
        raise NotSoError(
            f"job {job}: it does not read its stdin any more; {_progress_text(sender)}"
        ) from None
    finally:
        for descriptor in received:
            os.close(descriptor)


def _pieces(text: str, enter: bytes) -> Iterator[bytes]:
    """Our stdin as it is, or the text and the enter key, which sends a carriage return: a program that reads lines
    from a terminal gets a line feed (ICRNL, termios(3)).
    """
    if text != "-":
        yield os.fsencode(text) + enter
        return
    while chunk := os.read(sys.stdin.fileno(), _CHUNK):
        yield chunk


def _progress_text(sender: Sender) -> str:
    return f"bytes taken: {sender.taken}"


class _SlowReaderNotice:
    """Waits forever, and says so once."""

    def __init__(self, job: str) -> None:
        self._job = job
        self._is_printed = False

    def __call__(self, seconds: float) -> bool:
        if not self._is_printed and seconds >= _NOTICE_AFTER:
            complain(f"job {self._job} does not read; waiting until it does, ctrl+c gives up")
            self._is_printed = True
        return True
