"""`corral each --dry-run`: prints the commands, without a daemon."""

from __future__ import annotations

import os
import select
import sys

from corral.commandline.parser import quote_pipeline
from corral.model.batch import BatchInput
from corral.model.wire import from_wire
from corral_tui.cli.each.delivery import NO_INPUT
from corral_tui.cli.each.request import PreparedBatch
from corral_tui.cli.support.errors import complain
from corral_tui.text.terminal_output import is_terminal, visible


def print_commands(prepared: PreparedBatch) -> int:
    """Print the command of each input on a line: with `--shell` the line that sh would run."""
    is_seen = is_terminal(sys.stdout)
    number = 0
    for given in prepared.inputs:
        if isinstance(given, int):
            sys.stdout.flush()
            _wait_for(given)
            continue
        number += 1
        line = _command(prepared, given, number)
        # Quotes may hold a newline. Into a file or a pipe they stay as sh reads them.
        sys.stdout.buffer.write(os.fsencode(visible(line) if is_seen else from_wire(line)))
        sys.stdout.buffer.write(b"\n")
    if not number:
        complain(NO_INPUT)
    return 0


def _command(prepared: PreparedBatch, given: BatchInput, number: int) -> str:
    spec = prepared.request.spec
    pipeline = prepared.template.fill(given, number, (number - 1) % spec.jobs + 1)
    return pipeline.stages[0].argv[-1] if spec.shell else quote_pipeline(pipeline)


def _wait_for(descriptor: int) -> None:
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    poller.poll()
