"""`corral show`: all of one job."""

from __future__ import annotations

import click
import msgspec

from corral.model.reports import Detail
from corral.protocol.requests import ShowJob
from corral_tui.cli.support import connect
from corral_tui.cli.support.options import id_argument, json_option
from corral_tui.text.job_details import detail_lines
from corral_tui.text.lines import print_lines
from corral_tui.text.terminal_output import print_json


@click.command("show", epilog="Example: corral show --json build")
@json_option
@id_argument()
def command(as_json: bool, job: str) -> int:
    """Print everything about one job: its stages, pipes, processes and history."""
    with connect.reader() as caller:
        detail = caller.call(ShowJob(job=job))
    if as_json:
        print_json(_as_object(detail))
    else:
        print_lines(detail_lines(detail))
    return 0


def _as_object(detail: Detail) -> dict[str, object]:
    """The keys of the job, and beside them what only `show` knows. The environment may hold secrets: not shown."""
    job = msgspec.to_builtins(detail.job)
    assert isinstance(job, dict)
    return {
        **job,
        "events": detail.events,
        "tree": detail.tree,
        "stop": detail.stop,
        "story": {"diagnosis": detail.diagnosis, "diagnosed": detail.diagnosed, "life": detail.life},
        "stdin_path": detail.stdin_path,
        "slowest": [{"id": each, "elapsed": elapsed} for each, elapsed in detail.slowest],
        "earlier_runs": [
            {"id": run, "state": state, "elapsed": elapsed} for run, state, elapsed in detail.earlier_runs
        ],
    }
