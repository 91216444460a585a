"""The verbs as a click group that imports a verb's module only when that verb is used."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem

from corral import __version__
from corral.model.errors import CorralError, UsageError
from corral_tui.cli.completion_variable import COMPLETION_VARIABLE
from corral_tui.lazy import load

VERBS = {
    "demo": "corral_tui.demo.main:command",
    "run": "corral_tui.cli.run.run:command",
    "each": "corral_tui.cli.each.each:command",
    "ps": "corral_tui.cli.jobs.ps:command",
    "show": "corral_tui.cli.jobs.show:command",
    "logs": "corral_tui.cli.jobs.logs:command",
    "why": "corral_tui.cli.jobs.why:command",
    "peek": "corral_tui.cli.jobs.peek:command",
    "stop": "corral_tui.cli.jobs.stop:stop",
    "kill": "corral_tui.cli.jobs.stop:kill",
    "signal": "corral_tui.cli.jobs.signal:signal",
    "pause": "corral_tui.cli.jobs.signal:pause",
    "resume": "corral_tui.cli.jobs.signal:resume",
    "restart": "corral_tui.cli.jobs.restart:command",
    "wait": "corral_tui.cli.jobs.wait:command",
    "send": "corral_tui.cli.jobs.send:command",
    "attach": "corral_tui.cli.run.attach:command",
    "rm": "corral_tui.cli.jobs.rm:command",
    "clean": "corral_tui.cli.jobs.clean:command",
    "daemon": "corral_tui.cli.daemon:command",
    "completion": "corral_tui.cli.completion:command",
}
"""Each verb, in the order of the help, and its click command."""

_WIDEST, _TWO_COLUMNS, _NARROWEST = 80, 58, 20
"""Columns of a help text."""
_INDENT = 6

_WHOLE = 1000
"""Longer than any summary of a command."""


class _Help(click.HelpFormatter):
    """As wide as the terminal, at most 80 columns; if narrow, each option is above its description."""

    def __init__(
        self, indent_increment: int = 2, width: int | None = None, max_width: int | None = None
    ) -> None:
        columns = shutil.get_terminal_size().columns
        super().__init__(indent_increment, width or max(min(columns, _WIDEST) - 2, _NARROWEST))

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        super().write_dl(rows, col_max if self.width >= _TWO_COLUMNS else _INDENT, col_spacing)


click.Context.formatter_class = _Help


class VerbGroup(click.Group):
    """Shows the whole summary of each command, in the help and in shell completion."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, self._summary(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        found = super().shell_complete(ctx, incomplete)
        for item in found:
            item.help = self._summary(ctx, str(item.value)) or item.help
        return found

    def _summary(self, ctx: click.Context, name: str) -> str:
        inner = self.get_command(ctx, name)
        return "" if inner is None else inner.get_short_help_str(limit=_WHOLE)


class Verbs(VerbGroup):
    """Imports a verb's module on first use: `corral ps` must not pay for `corral show`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command = load(VERBS[cmd_name])
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        verb = args[0]
        if verb not in VERBS and not verb.startswith("-"):
            raise click.UsageError(f"no such verb: {verb!r}{_nearest(verb)}", ctx)
        return super().resolve_command(ctx, args)


_VERBS_OF_OTHER_TOOLS = {
    "add": "corral run",
    "start": "corral run",
    "exec": "corral run",
    "status": "corral ps",
    "ls": "corral ps",
    "list": "corral ps",
    "jobs": "corral ps",
    "top": "corral without a verb",
    "monit": "corral without a verb",
    "follow": "corral logs -f",
    "log": "corral logs",
    "tail": "corral logs -n",
    "delete": "corral rm",
    "remove": "corral rm",
    "version": "corral --version",
    "help": "corral --help",
}
"""Verbs of other tools, and ours for the same: the nearest spelling would often be a different one."""


def _nearest(verb: str) -> str:
    from difflib import get_close_matches

    if verb in _VERBS_OF_OTHER_TOOLS:
        return f"; use {_VERBS_OF_OTHER_TOOLS[verb]}"
    near = get_close_matches(verb, VERBS, n=1)
    if near:
        return f"; did you mean corral {near[0]}?"
    return f"; to start a program: corral run {verb} …"


@click.group(
    cls=Verbs,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""ID is a job's number, its name, or @ for the newest. corral VERB --help has more.

\b
Example: corral run 'pg_dump shop | gzip > shop.gz'   prints 1, the id
         corral                                       watch it
         corral why 1                                 what does it wait for?
         corral stop 1                                until nothing is left
""",
)
@click.version_option(__version__, "-V", "--version", prog_name="corral", message="%(prog)s %(version)s")
@click.pass_context
def corral(ctx: click.Context) -> int:
    """Run many commands and pipelines, see them live, know why one hangs, and stop it so that nothing is left.

    Without a verb, open the dashboard.
    """
    if ctx.invoked_subcommand is not None:
        return 0
    status: int = load("corral_tui.cli.dashboard:open_dashboard")()
    return status


def invoke(words: list[str]) -> int:
    """Parse `words`, run the verb, and return its exit status. Raises CorralError for wrong usage too."""
    instruction = os.environ.get(COMPLETION_VARIABLE)
    if instruction:
        completed: int = load("corral_tui.cli.completion:complete")(corral, instruction)
        return completed
    try:
        with corral.make_context("corral", words) as ctx:
            status = corral.invoke(ctx)
    except click.exceptions.Exit as exit_request:
        return exit_request.exit_code
    except click.Abort:
        raise KeyboardInterrupt from None
    except click.UsageError as error:
        raise UsageError(_one_line(error, words)) from None
    except click.ClickException as error:
        raise CorralError(error.format_message()) from None
    return status if isinstance(status, int) else 0


def _one_line(error: click.UsageError, words: list[str]) -> str:
    said = " ".join(error.format_message().split())
    said = said[:1].lower() + said[1:] if said[:2] != said[:2].upper() else said
    return f"{said.rstrip('.')}; see {error.ctx.command_path if error.ctx else _verb_in(words)} --help"


def _verb_in(words: list[str]) -> str:
    """The command that `words` begin with: click does not name it if an option lacks its value."""
    path = ["corral"]
    command: click.Group = corral
    for word in words:
        inner = command.get_command(click.Context(command), word)
        if inner is None:
            break
        path.append(word)
        if not isinstance(inner, click.Group):
            break
        command = inner
    return " ".join(path)
