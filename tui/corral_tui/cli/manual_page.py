"""The manual page, generated from the `--help` texts when a wheel is built (hatch_build.py)."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator

import click

from corral import __version__
from corral_tui.cli.verbs import corral

_VERBATIM = "\b\n"
"""The start of a paragraph that click does not wrap."""
_WIDTH = 78
_LETTERS = str.maketrans({"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti"})
"""Characters that roff would replace; escaped they can be copied from the page (groff_char(7))."""


def manual_page(date: str) -> str:
    """The text of `corral.1`, in the format of man(7); `date` is that of its last change, such as `2026-11-22`."""
    context = click.Context(corral, info_name="corral", **corral.context_settings)
    page = _Page()
    page.write(f'.TH CORRAL 1 "{date}" "corral {__version__}" "User Commands"\n.nh\n.ad l\n.SH NAME\n')
    what = corral.get_short_help_str(limit=1000).rstrip(".")
    page.write_line(f"corral - {what[0].lower()}{what[1:]}")
    page.write(".SH SYNOPSIS\n")
    corral.format_usage(context, page)
    page.write(".SH DESCRIPTION\n")
    corral.format_help_text(context, page)
    corral.format_epilog(context, page)
    corral.format_options(context, page)
    for verb in _commands(context):
        page.write(f'.SS "{verb.command_path}"\n')
        page.is_verb = True
        verb.command.format_help(verb, page)
    return page.getvalue()


def _commands(context: click.Context) -> Iterator[click.Context]:
    """All verbs and their subcommands."""
    group = context.command
    assert isinstance(group, click.Group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = click.Context(command, parent=context, info_name=name, **command.context_settings)
        yield inner
        if isinstance(command, click.Group):
            yield from _commands(inner)


class _Page(click.HelpFormatter):
    """A click formatter that writes roff, so that the page and `--help` have the same content."""

    is_verb = False

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        self.write(f"\\fB{_escaped(prog)}\\fR {_escaped(args)}\n")

    def write_heading(self, heading: str) -> None:
        """A section heading; none within a verb."""
        if not self.is_verb:
            self.write(f".SH {heading.upper()}\n")

    def write_paragraph(self) -> None:
        """Nothing: `write_text` starts its own paragraphs."""

    def write_text(self, text: str) -> None:
        for paragraph in text.split("\n\n"):
            if not self.buffer[-1].startswith(".S"):  # a section begins one by itself
                self.write(".PP\n")
            if paragraph.startswith(_VERBATIM):
                self.write(".nf\n")
                for line in paragraph.removeprefix(_VERBATIM).splitlines():
                    self.write(f"{_escaped(line)}\n")
                self.write(".fi\n")
            else:
                self.write_line(paragraph)

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        for term, meaning in rows:
            if self.is_verb and term.endswith("--help"):
                continue
            self.write(f".TP\n\\fB{_escaped(term)}\\fR\n")
            self.write_line(meaning)

    def write_line(self, text: str) -> None:
        for line in textwrap.wrap(text, _WIDTH, break_on_hyphens=False):
            self.write(f"{_escaped(line)}\n")


def _escaped(text: str) -> str:
    """`text` as roff prints it, in ASCII, and with no request at the start of a line."""
    plain = text.translate(_LETTERS)
    plain = re.sub("[^\\x00-\\x7f]", lambda found: f"\\[u{ord(found[0]):04X}]", plain)
    return f"\\&{plain}" if plain[:1] in (".", " ") else plain
