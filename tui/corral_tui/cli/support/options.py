"""Types of the verbs' options and arguments, and their shell completion."""

from __future__ import annotations

import signal as signals
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from corral.model.errors import UsageError
from corral.model.units import parse_duration, parse_signal, parse_size, signal_name
from corral.model.wire import to_wire
from corral_tui.cli.support.usable_jobs import Usable, any_job

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # Not generic at run time before click 8.3.

KEEP_ALL = -1
"""The value of `--max-output none`; None means that the option was not given."""

Function = TypeVar("Function", bound=Callable[..., Any])


class ParsedValue(_ParamType):
    """A value that `parse` makes of a word; what it raises is said as wrong usage."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self._parse(value) if isinstance(value, str) else value
        except UsageError as error:
            self.fail(str(error), param, ctx)


def _output_cap(text: str) -> int:
    if text == "none":
        return KEEP_ALL
    try:
        size = parse_size(text)
    except UsageError as error:
        raise UsageError(f"{error}, or none") from None
    from corral.model.validators import LEAST_OUTPUT

    if size < LEAST_OUTPUT:
        raise UsageError(f"{text!r}: at least {LEAST_OUTPUT >> 10}K, or none to keep all")
    return size


class _OutputCap(ParsedValue):
    """Bytes, written `64K 100M 1.5G`; `none` is KEEP_ALL."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [CompletionItem(size) for size in ("none", "100M", "1G") if size.startswith(incomplete)]


class _Signal(ParsedValue):
    """The name of a signal, written `HUP`, `SIGHUP` or `1`."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        names = [member.name.removeprefix("SIG") for member in signals.Signals]
        wanted = incomplete.upper()
        matching = [name for name in names if name.startswith(wanted)]
        prefixed = [f"SIG{name}" for name in names if f"SIG{name}".startswith(wanted)]
        return [CompletionItem(name) for name in matching or prefixed]


class JobId(_ParamType):
    """A job by number, name, or `@` for the newest. Completion offers the jobs that are `usable`."""

    name = "ID"

    def __init__(self, usable: Usable = any_job) -> None:
        self._usable = usable

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value:
            self.fail("an empty id; corral ps lists the ids", param, ctx)
        return to_wire(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from corral_tui.cli.support.completion_items import jobs

        written = ctx.params.get(param.name or "")
        offered = jobs(self._usable, ctx.params, incomplete)
        return [item for item in offered if not isinstance(written, tuple) or item.value not in written]


class Words(_ParamType):
    """The words of a command: a program, then arguments, which are completed as files."""

    name = "COMMAND"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from corral_tui.cli.support.completion_items import files, programs

        return files(incomplete) if ctx.params.get(param.name or "") else programs(incomplete)


class JobPath(click.Path):
    """A path that the daemon opens and checks. Not checked here, since that could block forever."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value


DURATION = ParsedValue("DUR", parse_duration)
SIZE = ParsedValue("N", parse_size)
OUTPUT_CAP = _OutputCap("SIZE", _output_cap)
SIGNAL = _Signal("SIG", lambda text: signal_name(parse_signal(text)))

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def ids_argument(*, required: bool = True, usable: Usable = any_job) -> Callable[[Function], Function]:
    """One job or several."""
    metavar = "ID..." if required else "[ID]..."
    return click.argument("ids", metavar=metavar, type=JobId(usable), nargs=-1, required=required)


def id_argument(*, required: bool = True, usable: Usable = any_job) -> Callable[[Function], Function]:
    """One job."""
    return click.argument("job", metavar="ID" if required else "[ID]", type=JobId(usable), required=required)
