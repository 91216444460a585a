"""`corral run`: starts a job, and may wait for it."""

from __future__ import annotations

import click

from corral.model.errors import CannotStartError, UsageError
from corral.protocol.requests import ListJobs
from corral_tui.cli.run.request import PreparedRequest, RunOptions, prepare
from corral_tui.cli.support import connect
from corral_tui.cli.support.errors import complain
from corral_tui.cli.support.home import chosen_home
from corral_tui.cli.support.job_options import (
    CommandOfJob,
    after_option,
    cwd_option,
    env_file_option,
    env_option,
    leftovers_option,
    max_output_option,
    name_option,
    on_stuck_option,
    quiet_option,
    shell_option,
    stop_grace_option,
    stop_signal_option,
    stuck_after_option,
    words_argument,
)
from corral_tui.cli.support.job_spec import despite_an_idle_daemon
from corral_tui.cli.support.options import DURATION, JobId, JobPath
from corral_tui.cli.support.outcomes import report_start_failure
from corral_tui.settings.run_defaults import read_run_defaults
from corral_tui.text.terminal_output import print_json, say


@click.command(
    "run",
    cls=CommandOfJob,
    context_settings={"allow_interspersed_args": False},
    epilog="""DUR is 500ms, 90, 2m or 1h30m. ID is a job's number, its name, or @ for the newest.

\b
Example: corral run make -j8
         corral run -n dump --timeout 2h 'pg_dump shop | gzip > ~/shop.gz'
         corral run --shell 'make && make install'
         corral run --wait pytest || echo failed
""",
)
@name_option
@cwd_option
@env_option
@env_file_option
@click.option(
    "--stdin", metavar="FILE|-", type=JobPath(), help="Read stdin from FILE; - is the stdin of this command."
)
@click.option("-i", "--interactive", is_flag=True, help="Keep its stdin open for corral send.")
@click.option("-t", "--pty", is_flag=True, help="Give it a terminal; see corral attach and corral send.")
@click.option("--from", "source", type=JobId(), help="Feed it the stdout of this job, live.")
@shell_option
@click.option("--timeout", type=DURATION, help="Stop it after this time.")
@stop_signal_option
@stop_grace_option
@stuck_after_option
@on_stuck_option
@leftovers_option
@max_output_option
@click.option(
    "--output",
    type=click.Choice(["file", "pipe"]),
    help="pipe: through a relay, so that > /dev/stdout cannot empty the output; default: file.",
)
@after_option
@click.option("-w", "--wait", is_flag=True, help="Copy its output here, and exit with its status.")
@click.option("--raw", is_flag=True, help="With --wait: do not change the output, even on a terminal.")
@quiet_option
@click.option(
    "--json", "as_json", is_flag=True, help="Print the job as JSON; with --wait, once it has ended."
)
@words_argument
def command(**options: object) -> int:
    """Start a job in the background, and print its id.

    One word is a command line, read without a shell: corral run 'a | b > f'. Pipes, redirections, ~, $NAME and * ? [ab]
    work as in sh.
    Several words, and everything after --, are a program and its arguments.
    """
    return run_job(RunOptions(**options))  # type: ignore[arg-type]


def run_job(options: RunOptions) -> int:
    """Start the job; with `wait`, wait for its end."""
    if options.raw and not options.wait:
        raise UsageError("run --raw: it needs --wait; add that, or use corral logs --raw")
    defaults = read_run_defaults()
    prepared = prepare(options, defaults)
    complain(*defaults.notices)  # the job starts anyway
    return despite_an_idle_daemon(lambda: _start(prepared, options))


def _start(prepared: PreparedRequest, options: RunOptions) -> int:
    if options.wait and options.pty and not options.as_json:
        from corral_tui.cli.run.raw_terminal import is_interactive

        if is_interactive():
            from corral_tui.cli.run.run_attached import run_attached

            return run_attached(prepared)
    if options.wait:
        from corral_tui.cli.run.run_and_wait import run_and_wait

        return run_and_wait(prepared, quiet=options.quiet, as_json=options.as_json, raw=options.raw)
    with connect.daemon() as client:
        try:
            started = client.call(prepared.request, prepared.descriptors)
        except CannotStartError as error:
            return report_start_failure(client, error, as_json=options.as_json)
        complain(*started.left)
        (job,) = started.ids
        if options.as_json:
            print_json(client.call(ListJobs(ids=(job,))).jobs[0])
        elif not options.quiet:
            say(job)
    _warn_about_logind()
    return 0


def _warn_about_logind() -> None:
    from corral_tui.cli.support.logind import warn_once

    warn_once(chosen_home())
