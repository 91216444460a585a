"""What README.md and docs/command-line.md promise: both commands, the verbs, the example, the links."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from corral_tui.cli.verbs import corral as program
from corral_tui.main import main
from e2e.command import Corral

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMAND_LINE = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
SEE_IT = "python3 -m venv .venv && .venv/bin/pip install -q . && .venv/bin/corral demo"
TEST_IT = "python3 -m venv .venv && .venv/bin/pip install -q -e '.[test]' && .venv/bin/pytest"
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
_VERB_HEADING = re.compile(r"^### corral (\S+)$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)#:]+)(#[^)]*)?\)")


def _verbs_of_help(text: str) -> set[str]:
    commands = text.partition("\nCommands:\n")[2].partition("\n\n")[0]
    return set(re.findall(r"^  (\S+)  ", commands, re.MULTILINE))


def _section(verb: str) -> str:
    rest = COMMAND_LINE.partition(f"### corral {verb}\n")[2]
    return re.split(r"^##", rest, maxsplit=1, flags=re.MULTILINE)[0]


def test_the_two_commands_stand_in_the_readme_to_the_letter() -> None:
    lines = [re.split(r"\s{2,}#", line)[0] for line in README.splitlines()]
    assert lines.count(SEE_IT) == 1
    assert lines.count(TEST_IT) == 1
    assert lines.index(TEST_IT) == lines.index(SEE_IT) + 1


def test_the_first_screen_has_24_lines_and_one_picture() -> None:
    first_screen = README.partition("\n## ")[0].rstrip("\n").splitlines()
    assert len(first_screen) <= 24
    assert sum(line.startswith("![") for line in first_screen) == 1
    assert "](docs/demo.svg)" in README


def test_ci_runs_the_readme_s_second_command() -> None:
    assert TEST_IT in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_the_page_has_the_verbs_that_there_are(corral: Corral) -> None:
    verbs = _verbs_of_help(corral.ok("--help"))
    assert len(verbs) >= 18
    assert verbs == set(_VERB_HEADING.findall(COMMAND_LINE))


@pytest.mark.parametrize("verb", _VERB_HEADING.findall(COMMAND_LINE))
def test_a_verb_has_an_example_and_its_options_exist(verb: str, corral: Corral) -> None:
    section = _section(verb)
    example = re.search(rf"^\$ corral (.*\| )?{verb}\b", section, re.MULTILINE)
    assert example is not None
    # Examples show other programs' options too; the prose and the tables only the verb's own.
    prose = re.sub(r"^```.*?^```$", "", section, flags=re.MULTILINE | re.DOTALL)
    help_text = corral.ok(verb, "--help") + (corral.ok(verb, "stop", "--help") if verb == "daemon" else "")
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", prose)) - _of_other_verbs(verb)
    assert {option for option in named if option not in help_text} == set()


def _of_other_verbs(verb: str) -> set[str]:
    """Options that the section of `verb` names although they belong to another verb or are no option of ours."""
    return {"kill": {"--grace"}, "send": {"--name"}, "logs": {"--pty", "--shell"}}.get(verb, set())


_TYPED = re.compile(r"^\$ corral\b(.*)$", re.MULTILINE)
_NOT_OURS = re.compile(r"\s{2,}[#$]\s|(?:\s[|>&]+|;)(?=\s)(?=(?:[^']*'[^']*')*[^']*$)")
"""What ends our part of a line: a comment, a second column, the shell's own words outside of quotes."""


def _typed() -> set[str]:
    """What the pages type after `$ corral`; of a quoted text over several lines nothing."""
    found = {line for page in PAGES for line in _TYPED.findall(page.read_text(encoding="utf-8"))}
    return {_NOT_OURS.split(line)[0].strip() for line in found if line.count('"') % 2 == 0}


@pytest.mark.parametrize("line", sorted(_typed()))
def test_what_the_pages_type_is_understood(line: str) -> None:
    """As far as its options and arguments go; nothing is run."""
    command: click.Command = program
    words = shlex.split(line)
    while isinstance(command, click.Group) and words:
        inner = command.get_command(click.Context(command), words.pop(0))
        assert inner is not None
        command = inner
    command.make_context("corral", words)


def test_the_page_has_every_option_that_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in _VERB_HEADING.findall(COMMAND_LINE):
        assert main([*verb.split(), "--help"]) == 0
        options = set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", capsys.readouterr().out, re.MULTILINE))
        assert "--help" in options
        missing = {
            option for option in options - {"--help", "--json", "--all"} if option not in _section(verb)
        }
        assert missing - _spelled_otherwise(verb) == set(), verb


def _spelled_otherwise(verb: str) -> set[str]:
    """Options that the page shows by their short form."""
    short = {"ps": {"--quiet"}, "logs": {"--follow", "--tail"}, "stop": {"--signal"}}
    return short.get(verb, set())


def test_the_keys_of_the_json_are_those_of_the_page(corral: Corral) -> None:
    corral.ok("run", "--quiet", "--wait", "echo a | cat")
    (job,) = json.loads(corral.ok("ps", "--all", "--json"))
    diagnosis = json.loads(corral.ok("why", "--json", "@"))
    (report,) = json.loads(corral.ok("stop", "--json", "@"))
    status = json.loads(corral.ok("daemon", "status", "--json"))
    assert list(job) == _keys("job")
    assert list(job["stages"][0]) == _keys("stage")
    assert list(diagnosis) == _keys("why")
    assert list(report) == _keys("stop")
    assert list(status) == _keys("daemon status")


def _keys(name: str) -> list[str]:
    (row,) = re.findall(rf"^\| {name} \| (`.*) \|$", COMMAND_LINE, re.MULTILINE)
    return re.findall(r"`(\w+)`", row)


def test_the_readme_s_program_runs(corral: Corral) -> None:
    (program,) = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert len(program.splitlines()) <= 12
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
        cwd=corral.directory,
        env=corral.environment,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    words = ended.stdout.split()
    assert words[:5] == ["0", "1", "a", "2", "b"]
    assert words[-1] == "timed_out"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    links = [target for target, _ in _LINK.findall(page.read_text(encoding="utf-8"))]
    assert [link for link in links if not (page.parent / link).exists()] == []
