"""What one request did to several jobs, said: nothing where all went well, a line for each that did not."""

from __future__ import annotations

from corral.service.protocol import Answers, Outcome
from corral_tui.cli import reach
from corral_tui.cli.guard import complain
from corral_tui.cli.plain import is_terminal, say, visible


def carry_out(request: Answers[Outcome]) -> int:
    """Ask the daemon; 1 where a job was not touched. What was done is said only to a person."""
    import sys

    with reach.daemon() as client:
        outcome = client.call(request)
    if is_terminal(sys.stdout):
        for line in outcome.done:
            say(visible(line))
    for line in outcome.errors:
        complain(line)
    return 1 if outcome.errors else 0
