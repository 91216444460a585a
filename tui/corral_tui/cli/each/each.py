"""`corral each`: starts one job for each input, and may wait for all of them."""

from __future__ import annotations

import sys

import click

from corral.model.batch import DEFAULT_REPLACE, DEFAULT_RETRY_DELAY, HaltRule
from corral.model.errors import CannotStartError
from corral.protocol.requests import ListJobs
from corral_tui.blocked_terminal import silence
from corral_tui.cli.each.counts import ONE_A_CPU, parse_halt, parse_jobs, parse_limit, parse_load
from corral_tui.cli.each.delivery import InputDelivery
from corral_tui.cli.each.dry_run import print_commands
from corral_tui.cli.each.inputs import split_words
from corral_tui.cli.each.request import EachOptions, PreparedBatch, prepare_batch
from corral_tui.cli.support import connect
from corral_tui.cli.support.errors import OUTPUT_CLOSED, complain
from corral_tui.cli.support.home import chosen_home
from corral_tui.cli.support.job_options import (
    CommandOfJob,
    after_option,
    cwd_option,
    env_file_option,
    env_option,
    leftovers_option,
    max_output_option,
    on_stuck_option,
    quiet_option,
    shell_option,
    stop_grace_option,
    stop_signal_option,
    stuck_after_option,
)
from corral_tui.cli.support.job_spec import despite_an_idle_daemon
from corral_tui.cli.support.logind import warn_once
from corral_tui.cli.support.options import DURATION, SIZE, JobPath, ParsedValue, Words
from corral_tui.cli.support.outcomes import report_start_failure
from corral_tui.settings.run_defaults import read_run_defaults
from corral_tui.text.terminal_output import print_json, say


class _Each(CommandOfJob):
    """All behind the first `:::` is input, whatever it looks like."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        command, given = split_words(args)
        ctx.params["given"] = given
        return super().parse_args(ctx, command)


@click.command(
    "each",
    cls=_Each,
    context_settings={"allow_interspersed_args": False},
    epilog="""In COMMAND {} is the input, {.} without its extension, {/} its last part, {//} its directory,
{/.} its last part without extension, {1} {2.} its columns, {#} its number, {%} its slot. Without any of them
the input is the last argument. DUR is 500ms, 90, 2m or 1h30m.

\b
Example: corral each -w gzip -9 ::: *.log
         find . -name '*.wav' | corral each -n enc -j4 flac -s {} -o {.}.flac
         corral each -w --tag grep -c {1} {2} ::: red blue ::: a.txt b.txt
         corral each --shell 'cd {//} && make' ::: */Makefile
""",
)
@click.option(
    "-j",
    "--jobs",
    metavar="N|N%|+N|-N",
    type=ParsedValue("N", parse_jobs),
    default=ONE_A_CPU,
    help="Run so many at a time; +N, -N: more or fewer than CPUs; 0: as many as limits allow. "
    "Default: one for each CPU.",
)
@click.option(
    "-a",
    "--arg-file",
    "arg_files",
    metavar="FILE",
    multiple=True,
    type=click.Path(allow_dash=True),
    help="Read inputs from FILE, one a line; of several, every combination.",
)
@click.option("-0", "--null", "is_null", is_flag=True, help="Inputs end with NUL, not with a newline.")
@click.option(
    "--colsep",
    "column_separator",
    metavar="REGEX",
    help="Cut each input into the columns {1}, {2} and so on.",
)
@click.option(
    "-N",
    "--max-args",
    metavar="N",
    type=click.IntRange(min=0),
    default=1,
    help="Give each job so many inputs; 0: run it once for each, without it.",
)
@click.option(
    "-I",
    "--replace",
    metavar="STR",
    default=DEFAULT_REPLACE,
    help="STR stands for the input, in place of {}.",
)
@click.option("-n", "--name", metavar="NAME", help="A name to call the batch by.")
@cwd_option
@env_option
@env_file_option
@shell_option
@click.option(
    "--timeout",
    "limit",
    metavar="DUR|N%",
    type=ParsedValue("DUR|N%", parse_limit),
    help="Stop a job after this time; N%: of the median of those that succeeded.",
)
@click.option(
    "--retries", metavar="N", type=click.IntRange(min=0), default=0, help="Run a job that fails N more times."
)
@click.option(
    "--retry-delay",
    type=DURATION,
    default=DEFAULT_RETRY_DELAY,
    help="Time before that; doubled each time, at most 5m. Default: 1s.",
)
@click.option(
    "--halt",
    metavar="WHEN[,fail=N|N%]",
    type=ParsedValue("RULE", parse_halt),
    default=HaltRule(),
    help="Once N have failed: soon: start no more; now: stop what runs, too. Default: never.",
)
@click.option("--delay", type=DURATION, default=0.0, help="Time between two starts.")
@click.option(
    "--load",
    metavar="N|N%",
    type=ParsedValue("N|N%", parse_load),
    help="Start none while the load average is above N; N%: of the CPUs.",
)
@click.option("--memfree", metavar="SIZE", type=SIZE, help="Start none while less memory is free.")
@click.option(
    "--resume",
    is_flag=True,
    help="Leave out what succeeded in the newest batch of this command, or of this name.",
)
@click.option(
    "--joblog", metavar="FILE", type=JobPath(), help="Write a line to FILE for each job that ended."
)
@stop_signal_option
@stop_grace_option
@stuck_after_option
@on_stuck_option
@leftovers_option
@max_output_option
@after_option
@click.option(
    "-w",
    "--wait",
    is_flag=True,
    help="Copy the output of each job here once it has ended, and exit with how many failed, 101 at most.",
)
@click.option("-k", "--keep-order", is_flag=True, help="With --wait: copy in the order of the inputs.")
@click.option("--tag", is_flag=True, help="With --wait: the input and a tab before each line.")
@click.option("--line-buffer", is_flag=True, help="With --wait: copy each line as it is written.")
@click.option("--dry-run", is_flag=True, help="Print the commands, and run none.")
@quiet_option
@click.option(
    "--json", "as_json", is_flag=True, help="Print the batch as JSON; with --wait, once it has ended."
)
@click.argument("words", metavar="COMMAND... [::: INPUT...]...", type=Words(), nargs=-1, required=True)
def command(**options: object) -> int:
    """Start a batch, one job for each input, and print its id.

    Inputs stand behind :::; several ::: give every combination, and :::+ pairs its inputs with those before it. Else
    each line of stdin is one. COMMAND is as in run: one word is a command line, several are a program and its
    arguments. The input is data: no shell ever splits or expands it.
    """
    return run_batch(EachOptions(**options))  # type: ignore[arg-type]


def run_batch(options: EachOptions) -> int:
    """Start the batch, and give it all its inputs; with `wait`, wait for its end."""
    defaults = read_run_defaults()
    prepared = prepare_batch(options, defaults)
    if options.dry_run:
        return print_commands(prepared)
    complain(*defaults.notices)  # the batch starts anyway
    return despite_an_idle_daemon(lambda: _start(prepared, options))


def _start(prepared: PreparedBatch, options: EachOptions) -> int:
    if options.wait:
        from corral_tui.cli.each.each_and_wait import each_and_wait

        return each_and_wait(prepared, options)
    with connect.daemon() as client:
        try:
            started = client.call(prepared.request)
        except CannotStartError as error:
            return report_start_failure(client, error, as_json=options.as_json)
        complain(*started.left)
        (batch,) = started.ids
        is_heard = _say_id(client, batch, options)
        _deliver(InputDelivery(client, batch, prepared.inputs))
    warn_once(chosen_home())
    return 0 if is_heard else OUTPUT_CLOSED


def _say_id(client: connect.Backend, batch: str, options: EachOptions) -> bool:
    """Whether anybody reads it; the batch is to get its inputs all the same."""
    try:
        if options.as_json:
            print_json(client.call(ListJobs(ids=(batch,))).jobs[0])
        elif not options.quiet:
            say(batch)
        sys.stdout.flush()
    except BrokenPipeError:
        silence(1)
        return False
    return True


def _deliver(delivery: InputDelivery) -> None:
    try:
        while not delivery.is_over:
            if not delivery.step():
                delivery.wait()
    except KeyboardInterrupt:
        complain(f"{delivery.so_far}; corral stop {delivery.batch} ends the batch")
        raise
    complain(*delivery.remarks())
