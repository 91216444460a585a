"""`corral restart`: runs jobs again."""

from __future__ import annotations

import click

from corral.model.errors import CannotStartError, NotSoError
from corral.protocol.requests import ListJobs, RestartJobs
from corral_tui.cli.support import connect
from corral_tui.cli.support.errors import complain
from corral_tui.cli.support.options import ids_argument
from corral_tui.cli.support.outcomes import start_failure_advice
from corral_tui.text.terminal_output import say


@click.command(
    "restart", short_help="Run jobs again, and print the new ids.", epilog="Example: corral restart build"
)
@click.option("--failed", is_flag=True, help="Of a batch only what did not succeed.")
@ids_argument()
def command(ids: tuple[str, ...], failed: bool) -> int:
    """Run jobs again as they were first started, and print the new ids. A batch becomes a new batch, with the same inputs.

    A job that still runs is stopped first; if one of its processes survives, nothing is started.
    """
    with connect.daemon() as client:
        numbers, unknown = connect.resolve_ids(client, ids)
        complain(*unknown)
        status = NotSoError.exit_status if unknown else 0
        for job in numbers:
            # One at a time: a failure must not hide the new ids of the jobs that were restarted.
            try:
                started = client.call(RestartJobs(ids=(job,), failed=failed))
            except NotSoError as error:
                complain(str(error))
                status = error.exit_status
                continue
            complain(*started.left)
            say(*started.ids)
            for each in client.call(ListJobs(ids=started.ids)).jobs:
                if each.state == "failed" and each.started is None:
                    status = each.exit_status or CannotStartError.exit_status
                    complain(f"restart: {each.id}: {each.reason}{start_failure_advice(each.reason or '')}")
    return status
