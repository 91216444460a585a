"""The manual page says what the helps say, and is sound roff."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import click
import pytest

from corral_tui.cli.manual_page import manual_page
from corral_tui.cli.verbs import corral

PAGE = manual_page("2026-11-22")


def _text(roff: str) -> str:
    """What a reader sees of it, near enough."""
    plain = re.sub(r"\\f[BR]|\\&", "", roff)
    for escape, letter in (
        (r"\-", "-"),
        (r"\(aq", "'"),
        (r"\(ga", "`"),
        (r"\(ti", "~"),
        (r"\(ha", "^"),
        (r"\e", "\\"),
    ):
        plain = plain.replace(escape, letter)
    return plain


def _commands(context: click.Context) -> list[click.Context]:
    group = context.command
    if not isinstance(group, click.Group):
        return [context]
    inner = [(name, group.get_command(context, name)) for name in group.list_commands(context)]
    found = [click.Context(command, parent=context, info_name=name) for name, command in inner if command]
    return [context, *(below for one in found for below in _commands(one))]


@pytest.mark.parametrize(
    "context", _commands(click.Context(corral, info_name="corral")), ids=lambda context: context.command_path
)
def test_it_has_all_of_every_command(context: click.Context) -> None:
    text = _text(PAGE)
    assert (f'.SS "{context.command_path}"' in text) is (context.parent is not None)
    section = text if context.parent is None else text.partition(f'.SS "{context.command_path}"\n')[2]
    assert " ".join(context.command.collect_usage_pieces(context)) in section
    for param in context.command.params:
        record = param.get_help_record(context) if isinstance(param, click.Option) else None
        if record is not None and not record[0].endswith("--help"):
            assert f".TP\n{record[0]}\n" in section
            assert " ".join(record[1].split()) in " ".join(section.split())
    epilog = (context.command.epilog or "").replace("\b", ".PP\n.nf")
    assert " ".join(epilog.split()) in " ".join(section.split())


@pytest.mark.parametrize(
    "argv",
    [
        ["man", "--warnings", "-l", "-"],
        ["groff", "-man", "-ww", "-z"],
        ["mandoc", "-Tlint", "-W", "warning"],
    ],
    ids=lambda argv: argv[0],
)
def test_it_renders_without_a_warning(argv: list[str]) -> None:
    if shutil.which(argv[0]) is None:
        pytest.skip(f"{argv[0]} is not installed")
    done = subprocess.run(
        argv, input=PAGE, capture_output=True, text=True, timeout=30, env=os.environ | {"COLUMNS": "80"}
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert argv[0] == "man" or done.stdout == ""
