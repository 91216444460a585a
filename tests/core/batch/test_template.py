"""What an input makes of a command. The table was compared with what GNU parallel 20221122 makes of the same."""

from __future__ import annotations

import itertools
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corral.batch.template import Template, replacement_words
from corral.client.environment import surroundings
from corral.commandline.filesystem_lookup import expansion_context
from corral.commandline.parser import CommandLineError, parse, parse_argv, quote_pipeline, shell_pipeline
from corral.commandline.template_words import join_word, split_word
from corral.model.batch import BatchInput
from corral.model.errors import UsageError
from corral.model.spec import Command, Pipeline
from corral.model.wire import to_wire


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
        ("echo {3}{4/} {2}{3} {1}", ["", "b"], ["echo", "b", ""]),
        ("echo {1}{1}", [""], ["echo", ""]),
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


# ---- words that are expanded before an input goes in

VARIABLES = {
    "HOME": "/home/{}",
    "BRACES": "{}",
    "OPEN": "{",
    "CLOSE": "}",
    "DOT": ".",
    "EMPTY": "",
    "OUT": "/out",
    "NAMED": "{.}{1}{#}",
    "STAR": "*",
}
FILES = ("{}", "{.}", "a{1}b", "plain", "INPUT")

Templates = Callable[..., Pipeline]


@pytest.fixture
def template(tmp_path: Path) -> Templates:
    """The pipeline of a line that is expanded where there are odd files and variables."""
    for name in FILES:
        (tmp_path / name).touch()
    context = expansion_context(surroundings(environment=VARIABLES, cwd=str(tmp_path)))

    def parsed(line: str, replace: str = "{}") -> Pipeline:
        return parse(to_wire(line), context._replace(replaced=replacement_words(replace)))

    return parsed


def filled(pipeline: Pipeline, *columns: str, replace: str = "{}") -> Command:
    return Template(pipeline, replace=replace).fill(of(*columns), 7, 3).stages[0]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("x $BRACES {}", ["{}", "I.e"]),
        ('x "$BRACES{}${BRACES}" $NAMED', ["{}I.e{}", "{.}{1}{#}"]),
        ("x $BRACES", ["{}", "I.e"]),
        ("x ${OPEN}} {$CLOSE {${DOT}} $OPEN$CLOSE", ["{}", "{}", "{.}", "{}", "I.e"]),
        ("x $OPEN{}$CLOSE {$DOT}{.} {{}}", ["{I.e}", "{.}I", "{I.e}"]),
        ("x ~ ~/{} ~/x", ["/home/{}", "/home/{}/I.e", "/home/{}/x"]),
        ("x '{'} \\{} \"{\"'}' {''} {\\.}", ["I.e", "I.e", "I.e", "I.e", "I"]),
        ("x $OUT/{.}.gz $EMPTY{} {}~ \\~{} a~{}", ["/out/I.gz", "I.e", "I.e~", "~I.e", "a~I.e"]),
        ("x $STAR{} '*'{} \\?{}", ["*I.e", "*I.e", "?I.e"]),
        ("x {*} -", ["{.}", "{}", "-", "I.e"]),
        ("x ?[.}]* p*n {/.}", ["{.}", "{}", "plain", "I"]),
        ("x {a} {%}{#} {1} {-1.} {2}", ["{a}", "37", "I.e", "I"]),
        ("x {} '$HOME'{} \\$HOME{}", ["I.e", "$HOMEI.e", "$HOMEI.e"]),
    ],
)
def test_only_what_was_typed_stands_for_the_input(template: Templates, line: str, words: list[str]) -> None:
    assert list(filled(template(line), "I.e").argv[1:]) == words


def test_files_that_are_called_like_it_are_files(template: Templates) -> None:
    everything = sorted(FILES)
    assert list(filled(template("x *"), "I").argv) == ["x", *everything, "I"]
    assert list(filled(template("x {} *"), "I").argv) == ["x", "I", *everything]
    assert list(filled(template("* {}"), "I").argv) == [*everything, "I"]


def test_assignments_and_redirections_know_what_was_typed_too(template: Templates) -> None:
    line = "A={} B=$A-$BRACES C=$B{.} D=*{}:~/{} x {#} > $BRACES-{.} 2>> $OPEN{}"
    command = filled(template(line), "I.e")
    assert dict(command.assignments) == {
        "A": "I.e",
        "B": "I.e-{}",
        "C": "I.e-{}I",
        "D": "*I.e:/home/{}/I.e",
    }
    assert [one.path for one in command.redirections] == ["{}-I", "{I.e"]
    assert command.argv == ("x", "7")
    assert dict(filled(template("A=$BRACES B=$A x"), "I").assignments) == {"A": "{}", "B": "{}"}
    assert dict(filled(template("HOME={} A=~/x B=~ x"), "I").assignments)["A"] == "I/x"


@pytest.mark.parametrize(
    ("line", "column", "replace"),
    [
        ("x *{}", 3, "{}"),
        ("x {}/*", 6, "{}"),
        ("x 'a b'{1/.}?", 13, "{}"),
        ("x y | z $OUT/[ab]{#}", 14, "{}"),
        ("x [{}]", 3, "{}"),
        ("x INPUT*", 8, "INPUT"),
        ("x ~{}", 3, "{}"),
        ("A=b:~{}/c x", 5, "{}"),
        ("A1=2 x", 1, "A1"),
        ("A1=2 x", 1, "1=2"),
        ("x {} > *{}", 8, "{}"),
        ("x {a,{}}", 3, "{}"),
        ("x {}{1..3}", 5, "{}"),
        ("x ${}", 3, "{}"),
    ],
)
def test_what_would_have_to_know_the_input_is_refused(
    template: Templates, line: str, column: int, replace: str
) -> None:
    with pytest.raises(CommandLineError, match=f"^column {column}:"):
        template(line, replace)


def test_another_word_for_the_input_wins_over_what_it_means_else(template: Templates) -> None:
    assert filled(template("x * {} ~", "*"), "I", replace="*").argv == ("x", "I", "{}", "/home/{}")
    assert filled(template("x ~ ~/ *{}", "~"), "I", replace="~").argv[:3] == ("x", "I", "I/")
    assert filled(template("x $STAR {.}", "*"), "I.e", replace="*").argv == ("x", "*", "I")
    assert filled(template("x $OUT u /o", "u"), "I", replace="u").argv == ("x", "/out", "I", "/o")
    assert filled(template("x {.}$BRACES", "{.}{"), "I.e", replace="{.}{").argv == ("x", "I{}")


def test_words_are_marked_only_where_they_would_be_misread(template: Templates) -> None:
    pipeline = template("A=$OUT/{} x $OUT/{.} ~/{} {*} > $OUT/{1}")
    assert pipeline.stages[0].argv[1] == "/out/{.}"
    assert pipeline.stages[0].assignments == (("A", "/out/{}"),)
    assert [word for word in pipeline.stages[0].argv if "\0" in word] == [
        "/home/{}/\0{}\0",
        "{.}\0\0",
        "{}\0\0",
    ]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["{}", "{", "}", "'.'", "1", "-", "${OPEN}", "${CLOSE}", "'{'", "$NAMED "])))
def test_a_word_reads_as_the_same_word_with_other_values(pieces: list[str]) -> None:
    """What stands for the input does not depend on the values of variables."""
    line = f"x =y{''.join(pieces)}"
    pattern = replacement_words()

    def seen(**values: str) -> tuple[str, ...]:
        context = expansion_context(surroundings(environment=values, cwd="/"))._replace(replaced=pattern)
        return Template(parse(line, context)).fill(of("I"), 1, 1).stages[0].argv

    plain = seen(OPEN="<", CLOSE=">", NAMED="<.><1><#>")
    assert seen(OPEN="{", CLOSE="}", NAMED="{.}{1}{#}") == tuple(
        word.replace("<", "{").replace(">", "}") for word in plain
    )


TYPED = st.sampled_from(["{}", "{.}", "{1}", "{#}", "{-2/.}"])
TEXTS = st.text(st.sampled_from("{}.1x/"), max_size=6)


@given(TEXTS, st.lists(st.tuples(TYPED, TEXTS), max_size=3))
def test_a_word_that_was_joined_is_split_into_the_same(first: str, others: list[tuple[str, str]]) -> None:
    pattern = replacement_words()
    pieces = [first, *itertools.chain(*others)]
    found = split_word(join_word(pieces, pattern), pattern)
    assert "".join(found) == "".join(pieces)
    assert [piece for piece in found[1::2] if piece] == pieces[1::2]


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
