"""The options of a new job that several verbs have, and the words of its command."""

from __future__ import annotations

import click
from msgspec import Struct

from corral.model.spec import OnLeftovers, OnStuck
from corral_tui.cli.support.options import DURATION, OUTPUT_CAP, SIGNAL, JobId, JobPath, Words
from corral_tui.cli.support.usable_jobs import may_succeed

name_option = click.option("-n", "--name", metavar="NAME", help="A name to call the job by.")
cwd_option = click.option(
    "-C",
    "--cwd",
    metavar="DIR",
    type=JobPath(file_okay=False),
    help="Run it in this directory; default: here.",
)
env_option = click.option(
    "-e",
    "--env",
    "environment",
    metavar="K[=V]",
    multiple=True,
    help="Set a variable; K alone: as it is set here.",
)
env_file_option = click.option(
    "--env-file",
    "environment_files",
    metavar="FILE",
    multiple=True,
    type=click.Path(),
    help="Set variables from NAME=VALUE lines; --env wins.",
)
shell_option = click.option("--shell", is_flag=True, help="Let sh run the line, for &&, ; or $(date).")
stop_signal_option = click.option("--stop-signal", type=SIGNAL, help="First signal of a stop; default: TERM.")
stop_grace_option = click.option(
    "--stop-grace", "--grace", "stop_grace", type=DURATION, help="Time from that signal to KILL; default: 5s."
)
stuck_after_option = click.option(
    "--stuck-after", type=DURATION, help="It may be stuck after this time without progress; default: 1m."
)
on_stuck_option = click.option(
    "--on-stuck", type=click.Choice(["mark", "stop"]), help="What to do when it is stuck; default: mark."
)
leftovers_option = click.option(
    "--leftovers",
    type=click.Choice(["leave", "stop"]),
    help="What to do with processes that outlive the job; default: leave.",
)
max_output_option = click.option(
    "--max-output", type=OUTPUT_CAP, help="Keep the newest SIZE of stdout and of each stderr; default: 1G."
)
after_option = click.option(
    "--after", type=JobId(may_succeed), multiple=True, help="Start once this job has succeeded."
)
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Do not print the id.")
words_argument = click.argument("words", metavar="COMMAND...", type=Words(), nargs=-1, required=True)


class NewJobOptions(Struct, frozen=True, kw_only=True):
    """The values of these options."""

    words: tuple[str, ...]
    is_argv: bool = False
    """Typed after `--`: a single word is a program, not a command line."""
    name: str | None = None
    cwd: str | None = None
    environment: tuple[str, ...] = ()
    environment_files: tuple[str, ...] = ()
    shell: bool = False
    timeout: float | None = None
    stop_signal: str | None = None
    stop_grace: float | None = None
    stuck_after: float | None = None
    on_stuck: OnStuck | None = None
    leftovers: OnLeftovers | None = None
    max_output: int | None = None
    after: tuple[str, ...] = ()
    quiet: bool = False
    as_json: bool = False

    @property
    def is_line(self) -> bool:
        """Whether the words are one command line."""
        return self.shell or (len(self.words) == 1 and not self.is_argv)


class CommandOfJob(click.Command):
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
