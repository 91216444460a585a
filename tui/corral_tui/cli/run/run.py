"""`corral run`: starts a job, and may wait for it."""

from __future__ import annotations

import click

from corral.model.errors import CannotStartError, OtherSurroundingsError, UsageError
from corral.protocol.requests import ListJobs
from corral_tui.cli.run.request import PreparedRequest, RunOptions, prepare
from corral_tui.cli.support import connect
from corral_tui.cli.support.errors import complain
from corral_tui.cli.support.home import chosen_home
from corral_tui.cli.support.options import DURATION, OUTPUT_CAP, SIGNAL, JobId, JobPath, Words
from corral_tui.cli.support.outcomes import report_start_failure
from corral_tui.cli.support.usable_jobs import may_succeed
from corral_tui.settings.run_defaults import read_run_defaults
from corral_tui.text.terminal_output import print_json, say


class _Run(click.Command):
    """Options end at the first word of the command; after `--` a single word is a program, not a command line."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """After the first word of the command, completion offers no options of ours."""
        params = super().get_params(ctx)
        return [param for param in params if param.name == "words"] if ctx.params.get("words") else params

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        written = list(args)
        rest = super().parse_args(ctx, args)
        words = ctx.params.get("words") or ()
        before = len(written) - len(words) - 1
        ctx.params["is_argv"] = bool(words) and before >= 0 and written[before] == "--"
        return rest


@click.command(
    "run",
    cls=_Run,
    context_settings={"allow_interspersed_args": False},
    epilog="""DUR is 500ms, 90, 2m or 1h30m. ID is a job's number, its name, or @ for the newest.

\b
Example: corral run make -j8
         corral run -n dump --timeout 2h 'pg_dump shop | gzip > ~/shop.gz'
         corral run --shell 'make && make install'
         corral run --wait pytest || echo failed
""",
)
@click.option("-n", "--name", metavar="NAME", help="A name to call the job by.")
@click.option(
    "-C",
    "--cwd",
    metavar="DIR",
    type=JobPath(file_okay=False),
    help="Run it in this directory; default: here.",
)
@click.option(
    "-e",
    "--env",
    "environment",
    metavar="K[=V]",
    multiple=True,
    help="Set a variable; K alone: as it is set here.",
)
@click.option(
    "--env-file",
    "environment_files",
    metavar="FILE",
    multiple=True,
    type=click.Path(),
    help="Set variables from NAME=VALUE lines; --env wins.",
)
@click.option(
    "--stdin", metavar="FILE|-", type=JobPath(), help="Read stdin from FILE; - is the stdin of this command."
)
@click.option("-i", "--interactive", is_flag=True, help="Keep its stdin open for corral send.")
@click.option("-t", "--pty", is_flag=True, help="Give it a terminal; see corral attach and corral send.")
@click.option("--from", "source", type=JobId(), help="Feed it the stdout of this job, live.")
@click.option("--shell", is_flag=True, help="Let sh run the line, for &&, ; or $(date).")
@click.option("--timeout", type=DURATION, help="Stop it after this time.")
@click.option("--stop-signal", type=SIGNAL, help="First signal of a stop; default: TERM.")
@click.option(
    "--stop-grace", "--grace", "stop_grace", type=DURATION, help="Time from that signal to KILL; default: 5s."
)
@click.option(
    "--stuck-after", type=DURATION, help="It may be stuck after this time without progress; default: 1m."
)
@click.option(
    "--on-stuck", type=click.Choice(["mark", "stop"]), help="What to do when it is stuck; default: mark."
)
@click.option(
    "--leftovers",
    type=click.Choice(["leave", "stop"]),
    help="What to do with processes that outlive the job; default: leave.",
)
@click.option(
    "--max-output", type=OUTPUT_CAP, help="Keep the newest SIZE of stdout and of each stderr; default: 1G."
)
@click.option(
    "--output",
    type=click.Choice(["file", "pipe"]),
    help="pipe: through a relay, so that > /dev/stdout cannot empty the output; default: file.",
)
@click.option("--after", type=JobId(may_succeed), multiple=True, help="Start once this job has succeeded.")
@click.option("-w", "--wait", is_flag=True, help="Copy its output here, and exit with its status.")
@click.option("--raw", is_flag=True, help="With --wait: do not change the output, even on a terminal.")
@click.option("-q", "--quiet", is_flag=True, help="Do not print the id.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print the job as JSON; with --wait, once it has ended."
)
@click.argument("words", metavar="COMMAND...", type=Words(), nargs=-1, required=True)
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
    try:
        return _start(prepared, options)
    except OtherSurroundingsError:
        from corral.client.restart_daemon import replace_idle_daemon

        # An idle daemon started by another shell is replaced. If it is not idle, another client that was refused as we
        # were may have replaced it before us.
        replace_idle_daemon(chosen_home())
        return _start(prepared, options)


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
    from corral_tui.cli.run.logind import warn_once

    warn_once(chosen_home())
