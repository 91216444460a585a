"""`corral kill`: `stop` without grace. Not kill(1): it takes no signal."""

from __future__ import annotations

import click

from corral.service.protocol import StopJobs
from corral.values.errors import UsageError
from corral.values.units import parse_signal, signal_name
from corral_tui.cli.options import ids_argument, json_option
from corral_tui.cli.stopping import stop_jobs
from corral_tui.cli.usable import has_what_to_stop


class _Kill(click.Command):
    """Knows the habit of `kill -9 7`, and says how it is written here."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for place, word in enumerate(args):
            name = _signal_of(word)
            if name is not None:
                ids = " ".join(
                    other for other in args[:place] + args[place + 1 :] if not other.startswith("-")
                )
                raise UsageError(f"kill: {word}: kill takes no signal; corral signal {name} {ids or 'ID'}")
        return super().parse_args(ctx, args)


def _signal_of(word: str) -> str | None:
    """The signal in `-9` or `-KILL`; None for any other word."""
    if not word.startswith("-") or not word[1:].isalnum() or not (word[1:].isdigit() or word[1:].isupper()):
        return None
    try:
        return signal_name(parse_signal(word[1:]))
    except UsageError:
        return None


@click.command(
    "kill", cls=_Kill, short_help="End jobs at once: stop without grace.", epilog="Example: corral kill build"
)
@click.option("--all", "everything", is_flag=True, help="All jobs that have not ended.")
@json_option
@ids_argument(required=False, usable=has_what_to_stop)
def command(everything: bool, as_json: bool, ids: tuple[str, ...]) -> int:
    """End jobs at once, with whatever they started: `corral stop --grace 0`.

    To send a signal and no more, use `corral signal`.
    """
    request = StopJobs(ids=ids, all=everything, grace=0.0, by="by corral kill")
    return stop_jobs(request, verb="kill", as_json=as_json)
