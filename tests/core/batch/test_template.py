"""What an input makes of a command. The table was compared with what GNU parallel 20221122 makes of the same."""

from __future__ import annotations

import shlex
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corral.batch.template import Template
from corral.commandline.parser import parse, parse_argv, quote_pipeline, shell_pipeline
from corral.model.batch import BatchInput
from corral.model.errors import UsageError


def of(*columns: str) -> BatchInput:
    return BatchInput(" ".join(columns), columns)


def argv(
    line: str, given: BatchInput, number: int = 1, slot: int = 1, **options: bool | str
) -> tuple[str, ...]:
    return Template(parse(line), **options).fill(given, number, slot).stages[0].argv  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "columns", "words"),
    [
        ("echo {}", ["a b"], ["echo", "a b"]),
        ("echo", ["a b"], ["echo", "a b"]),
        ("echo", ["a", "b"], ["echo", "a", "b"]),
        ("echo {}", ["a", "1"], ["echo", "a", "1"]),
        ("echo x{}y", ["a", "1"], ["echo", "xa 1y"]),
        ("echo '{}'", ["a"], ["echo", "a"]),
        ("echo {2}{1}", ["a", "1"], ["echo", "1a"]),
        ("echo {-1} {-2/.}", ["a/b.c", "q"], ["echo", "q", "b"]),
        ("echo {3} {1}", ["a", "b"], ["echo", "a"]),
        ("echo x{3}", ["a", "b"], ["echo", "x"]),
        ("echo {/.} {.} {//} {/}", ["a/b.tar.gz"], ["echo", "b.tar", "a/b.tar", "a", "b.tar.gz"]),
        ("echo {/.} {.} {//}", [".hid"], ["echo", "", "", "."]),
        ("echo {/.} {.} {//}", ["a.b/c"], ["echo", "c", "a.b/c", "a.b"]),
        ("echo {/.} {.} {//}", ["/"], ["echo", "", "/", "/"]),
        ("echo {/.} {.} {//}", ["a/"], ["echo", "", "a/", "."]),
        ("echo {//}", ["a/b/"], ["echo", "a"]),
        ("echo {//}", ["a//b"], ["echo", "a"]),
        ("echo {//}", ["///a"], ["echo", "/"]),
        ("echo {#} {%} {}", ["a"], ["echo", "7", "3", "a"]),
        ("echo {a} {0} {x/}", ["i"], ["echo", "{a}", "{0}", "{x/}", "i"]),
        ("{}", ["ls"], ["ls"]),
        ("echo {}", ["; rm -rf ~"], ["echo", "; rm -rf ~"]),
        ("echo {}", ["{2} {#} $(x) *"], ["echo", "{2} {#} $(x) *"]),
    ],
)
def test_words_are_replaced(line: str, columns: list[str], words: list[str]) -> None:
    assert list(argv(line, of(*columns), 7, 3)) == words


def test_of_a_line_with_columns_the_whole_is_one_word() -> None:
    line = BatchInput("a b", ("a", "b"))
    assert argv("echo {} {2} {.}", line, lines=True) == ("echo", "a b", "b", "a b")
    assert argv("echo", line, lines=True) == ("echo", "a b")


def test_another_word_may_stand_for_the_input() -> None:
    assert argv("echo {} ,, {.} {1}", of("a.b"), replace=",,") == ("echo", "{}", "a.b", "a", "a.b")
    with pytest.raises(UsageError, match="empty"):
        argv("echo", of("a"), replace="")


def test_inputs_go_into_all_stages_assignments_and_redirections() -> None:
    template = Template(parse("A={/} sort {} | X=1 gzip > {.}.gz 2>> log"))
    filled = template.fill(of("d/a b.txt"), 1, 1)
    assert filled == parse("A='a b.txt' sort 'd/a b.txt' | X=1 gzip > 'd/a b.gz' 2>> log")
    assert "'d/a b.gz'" in quote_pipeline(filled)
    assert template.is_fixed(1)
    assert template.is_fixed(2)
    assert not Template(parse("{}")).is_fixed(1)


def test_a_pipeline_has_to_say_where_the_input_goes() -> None:
    with pytest.raises(UsageError, match=r"say where the input goes: \{\}"):
        Template(parse("cat | wc"))


def test_what_no_argument_can_hold_is_refused() -> None:
    with pytest.raises(UsageError, match="NUL"):
        argv("echo {}", of("a\0b"))
    with pytest.raises(UsageError, match="input 1 leaves nothing to run"):
        argv("{2}", of("a"))


# ---- where sh runs the line

ATTACKS = [
    "'; echo hit #",
    '"; echo hit #',
    "$(echo hit)",
    "`echo hit`",
    "a\necho hit",
    "-n",
    "",
    "!x",
    "\\",
    "a'b\"c",
    "~",
    "*",
    "${HOME}",
    "&& echo hit",
]
SHELLS = [shell for shell in ("sh", "dash", "bash") if shutil.which(shell)]


def ran(line: str, given: BatchInput, shell: str = "sh") -> str:
    command = Template(shell_pipeline(line), shell=True).fill(given, 1, 1).stages[0].argv
    return subprocess.run(
        [shell, *command[1:]], capture_output=True, text=True, check=True, timeout=60
    ).stdout


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_input_is_one_word_for_sh(attack: str, shell: str) -> None:
    assert ran("printf '%s|' x {} y", of(attack), shell) == f"x|{attack}|y|"
    assert ran('i={}; printf \'%s|\' "$i" "$(printf %s "$i")"', of(attack), shell).startswith(f"{attack}|")
    assert ran("printf '%s|'", of(attack, "b"), shell) == f"{attack}|b|"


@settings(max_examples=25, deadline=None)
@given(st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20))
def test_no_input_is_code_for_sh(text: str) -> None:
    command = Template(shell_pipeline("printf '%s|' {}"), shell=True).fill(of(text), 1, 1).stages[0].argv
    assert shlex.split(command[2]) == ["printf", "%s|", text]


@pytest.mark.parametrize(
    "line",
    [
        "echo '{}'",
        'echo "{}"',
        "echo \\{}",
        "echo $(cat {})",
        "echo `cat {}`",
        'echo "$(cat {})"',
        'echo "a$(echo ")" {})"',
        "echo ${x:-{}}",
        "echo $((1 + {}))",
        "((x = {}))",
        "cat << E\n{}\nE",
        "cat <<< {}",
        "echo a # {}",
        "# {}",
        "echo $'{}'",
        "echo 'open {}",
        "echo a\\ #'\n{}'",
        "echo \\;#'\n{}'",
        "echo $1{}$' {}",
        "echo ${}",
        "echo ''#' {}",
        "echo $(true) {}",
        "echo 'a' '{#}' {.} '{2}'",
    ],
)
def test_where_quotes_could_not_hold_an_input_is_refused(line: str) -> None:
    with pytest.raises(UsageError, match=r"\$i"):
        Template(shell_pipeline(line), shell=True)


@pytest.mark.parametrize(
    "line",
    [
        "cat << E\nx\nE",
        "echo a # b",
        "echo 'a",
        "echo $(cat)",
        "true\n",
        "true;",
        "true &",
        "a | cat",
        "(a)",
        "a\\",
        "a \\\\\\",
    ],
)
def test_an_input_is_not_appended_to_what_may_not_end_as_it_seems(line: str) -> None:
    with pytest.raises(UsageError, match="say where the input goes"):
        Template(shell_pipeline(line), shell=True)


@pytest.mark.parametrize("replace", ["a'b", '"', "$", "#", "`", "a b", "\\", "\n"])
def test_what_sh_reads_in_its_own_way_stands_for_no_input(replace: str) -> None:
    with pytest.raises(UsageError, match="sh reads that"):
        Template(shell_pipeline("echo"), shell=True, replace=replace)
    with pytest.raises(UsageError, match=r"\$i"):
        Template(shell_pipeline("echo $,,"), shell=True, replace=",,")


def test_quotes_elsewhere_are_no_reason_to_refuse() -> None:
    line = "x='a b' y=\"c d\"; printf '%s|' {} \"$x\" a#b {#}; # the end"
    assert ran(line, of("q r")) == "q r|a b|a#b|1|"


def test_an_argv_may_be_one_too() -> None:
    template = Template(parse_argv(("echo", "{} {}", "{/}")))
    assert template.fill(of("a/b"), 1, 1).stages[0].argv == ("echo", "a/b a/b", "b")
