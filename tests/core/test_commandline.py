from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from corral.commandline.expansion import EMPTY_CONTEXT
from corral.commandline.parser import (
    CommandLineError,
    expanded,
    first_problem,
    parse,
    parse_argv,
    parts,
    quote_pipeline,
    shell_pipeline,
    word_at,
)
from corral.model.errors import UsageError
from corral.model.spec import Command, Pipeline, Redirection

PIECES = st.sampled_from(
    [
        *"ab =\\'\"$~*?[]{},.#!|&;<>()\n\t012",
        " ",
        " ",
        "2>&1",
        ">>",
        "|&",
        "A=",
        "a b",
        "''",
        "~/",
        "${a}",
        "..",
        "é",
    ]
)
LINES = st.lists(PIECES, max_size=14).map("".join)
SAFE_FOR_SH = st.lists(
    st.sampled_from([*"ab =\\'\"$~*?[]{}#!^%@:-+", " ", "é", "a$", "~a", "=~", '"\\', "\\\n", "[", "{}"]),
    max_size=12,
).map("".join)


def only(text: str) -> Command:
    (command,) = parse(text).stages
    return command


@pytest.mark.parametrize(
    ("text", "argv"),
    [
        ("a b  c\t", ("a", "b", "c")),
        ("\n a \n\n", ("a",)),
        ("a 'b c' \"d e\" f\\ g", ("a", "b c", "d e", "f g")),
        ("a 'x'\"y\"z", ("a", "xyz")),
        ("a '' \"\"", ("a", "", "")),
        (
            "a '*' \"?\" \\[x] '~' '$HOME' '&&' \\; '{a,b}' '`'",
            ("a", "*", "?", "[x]", "~", "$HOME", "&&", ";", "{a,b}", "`"),
        ),
        (r'a "\$\`\"\\\n"', ("a", '$`"\\\\n')),
        ('a b\\\nc \\\n d "e\\\nf"', ("a", "bc", "d", "ef")),
        ("find . -exec rm {} \\;", ("find", ".", "-exec", "rm", "{}", ";")),
        ("[ -f x ]", ("[", "-f", "x", "]")),
        ("grep foo$ a~ x#y {a} a=b 2 -x=~", ("grep", "foo$", "a~", "x#y", "{a}", "a=b", "2", "-x=~")),
        ("'A=1' b", ("A=1", "b")),
        ("'if' x", ("if", "x")),
        ("a if", ("a", "if")),
        ("a \u00a0b", ("a", "\u00a0b")),
    ],
)
def test_words_and_quotes_are_those_of_sh(text: str, argv: tuple[str, ...]) -> None:
    assert only(text) == Command(argv)


def test_a_pipeline_has_a_stage_for_each_pipe() -> None:
    assert parse("a 1 | b|c |& d") == Pipeline(
        (Command(("a", "1")), Command(("b",)), Command(("c",), merges_stderr_into_pipe=True), Command(("d",)))
    )


def test_a_line_may_break_after_a_pipe() -> None:
    assert parse("a |\n\n b") == parse("a | b")


def test_redirections_keep_their_order() -> None:
    assert only("<in cmd 2>&1 >| 'o p' 2>>e x >>f 0<g 1>h 2> i").redirections == (
        Redirection(0, "read", "in"),
        Redirection(2, "merge"),
        Redirection(1, "write", "o p"),
        Redirection(2, "append", "e"),
        Redirection(1, "append", "f"),
        Redirection(0, "read", "g"),
        Redirection(1, "write", "h"),
        Redirection(2, "write", "i"),
    )
    assert only("<in cmd 2>&1 x").argv == ("cmd", "x")


def test_digits_belong_to_a_redirection_only_where_they_touch_it_and_stand_alone() -> None:
    assert only("a 2 >f").argv == ("a", "2")
    assert only("a b2>f") == Command(("a", "b2"), redirections=(Redirection(1, "write", "f"),))


def test_every_stage_may_redirect() -> None:
    first, second = parse("a > f | b < g").stages
    assert first.redirections == (Redirection(1, "write", "f"),)
    assert second.redirections == (Redirection(0, "read", "g"),)


def test_assignments_stand_in_front() -> None:
    assert only("A=1 B='2 3' C= cmd D=4") == Command(
        ("cmd", "D=4"), assignments=(("A", "1"), ("B", "2 3"), ("C", ""))
    )


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("echo ${x:-y}", "${x:-y}"),
        ('echo "${x}${#x}"', "${#x}"),
        ("echo $1 $2", "$1"),
        ("echo $\\\n1", "$\\\n1"),
        ("echo ${}", "${}"),
        ("echo ${a", "${a"),
        *((f'echo "a${sign}"', f"${sign}") for sign in "?$@#*-!0"),
        ("echo $[1]", "$["),
        ("a 2\\\n<f", "2\\\n<"),
        ("echo $(date)", "$("),
        ("echo $((1+2))", "$(("),
        ("echo `date`", "`"),
        ('echo "`date`"', "`"),
        ("make && make install", "&&"),
        ("a || b", "||"),
        ("a; b", ";"),
        ("a &", "&"),
        ("(a)", "("),
        ("a )", ")"),
        ("cat <<EOF", "<<"),
        ("a 3>f", "3>"),
        ("a <&0", "<&"),
        ("a >&2", ">&"),
        ("a 2>&2", "2>&2"),
        ("a 2>&'1'", "2>&'1'"),
        ("a <>f", "<>"),
        ("a 2<f", "2<"),
        ("a 99999999>f", "99999999>"),
        ("if true", "if"),
        ("a | ! b", "!"),
        ("{ a", "{"),
        ("a\nb", "\n"),
    ],
)
def test_what_only_a_shell_does_is_refused_with_its_place_and_a_way_out(text: str, marked: str) -> None:
    with pytest.raises(CommandLineError) as caught:
        parse(text)
    error = caught.value
    assert text[error.position : error.position + error.length] == marked
    assert error.needs_shell
    assert "--shell" in error.hint


@pytest.mark.parametrize(
    ("text", "marked", "hint"),
    [
        ("a &>f", "&>", "2>&1"),
        ("a <<<x", "<<<", "bash"),
        ("diff <(a) b", "<(", "bash"),
        ("echo {a,b}", "{a,b}", "bash"),
        ("echo x{1..3}", "{1..3}", "bash"),
        ("echo {a,{b}}", "{a,{b}}", "bash"),
        ("A+=1 x", "+=", "NAME=value"),
        ("echo $'a'", "$'", "leave the $ out"),
        ("a #b", "#", "quote"),
        ("a | | b", "|", "next program"),
        ("a |", "|", "next program"),
        ("a |& |", "|&", "next program"),
        ("| a", "|", "program"),
        ("a >", ">", "file"),
        ("a > | b", "> |", "file"),
        ("a >\nb", ">\n", "file"),
        ("a 2>&", "2>&", "2>&1"),
        ("a > ''", "''", "file"),
        ("> f", ">", "program"),
        ("A=1", "A=1", "program"),
        ("A=1 | b", "A=1", "program"),
        ("a 'b", "'", "close"),
        ('a "b', '"', "close"),
        ("a b\\", "\\", "backslash"),
        ("a\0b", "\0", "take it out"),
        ("", "", "program"),
        ("  \n", "  \n", "program"),
    ],
)
def test_what_sh_would_not_help_with_is_refused_too(text: str, marked: str, hint: str) -> None:
    with pytest.raises(CommandLineError) as caught:
        parse(text)
    error = caught.value
    assert text[error.position : error.position + error.length] == marked
    assert not error.needs_shell
    assert hint in error.hint


def test_an_error_is_one_line_with_column_problem_and_hint() -> None:
    with pytest.raises(UsageError) as caught:
        parse("make && make install")
    assert caught.value.kind == "usage"
    assert str(caught.value).startswith('column 6: "&&" ')
    assert "--shell" in str(caught.value)


def test_an_error_in_a_later_line_says_which() -> None:
    with pytest.raises(CommandLineError, match=r"^line 2, column 4: "):
        parse("a |\nb  `")


def test_the_first_problem_wins() -> None:
    with pytest.raises(CommandLineError, match=r'"&"'):
        parse("a & 'b")
    with pytest.raises(CommandLineError, match=r'"&"'):
        parse("a $unset * & b")  # a line that cannot run is not looked into


@given(LINES)
@example("a\\")
@example("a\n\n'")
@example('"$(')
def test_a_line_parses_or_names_a_place_in_it(text: str) -> None:
    problem = first_problem(parts(text)) or first_problem(expanded(parts(text), EMPTY_CONTEXT))
    if problem is None:
        pipeline = parse(text)
        assert all(command.argv for command in pipeline.stages)
        assert parse(quote_pipeline(pipeline)) == pipeline
        return
    with pytest.raises(CommandLineError) as caught:
        parse(text)
    error = caught.value
    assert (error.position, error.problem) == (problem.position, problem.problem)
    assert 0 <= error.position <= error.position + error.length <= len(text)
    assert "\n" not in str(error)


@given(LINES, st.integers(-1, 30))
def test_a_prompt_can_ask_about_any_line_and_place(text: str, cursor: int) -> None:
    ends = [(part.start, part.end) for part in parts(text)]
    assert ends == sorted(ends)
    word = word_at(text, cursor)
    assert 0 <= word.start <= word.end <= len(text)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=SAFE_FOR_SH)
@example(text="'a'\\''b' \"\\a\\$\" x$ [ {} a~")
@example(text="a=~b =~ a:~")
@example(text="a$\\\nb")
def test_what_corral_accepts_sh_reads_the_same_way(text: str, tmp_path: Path) -> None:
    """Nothing that a shell would act upon is taken for a literal."""
    line = f"printf '%s\\0' . {text}"
    try:
        command = only(line)
    except CommandLineError:
        return
    seen = subprocess.run(["/bin/sh", "-c", line], cwd=tmp_path, capture_output=True, check=True, timeout=60)
    assert seen.stdout.decode().split("\0")[:-1] == list(command.argv[2:])


def test_an_argv_is_taken_as_it_is() -> None:
    assert parse_argv(["A=1", "a|b", "*", "2>&1"]) == Pipeline((Command(("A=1", "a|b", "*", "2>&1")),))


@pytest.mark.parametrize("argv", [[], ["a", "b\0c"]])
def test_an_argv_that_no_program_can_get_is_refused(argv: list[str]) -> None:
    with pytest.raises(UsageError):
        parse_argv(argv)


def test_with_shell_the_whole_line_is_one_stage() -> None:
    assert shell_pipeline("a | b > $X") == Pipeline((Command(("/bin/sh", "-c", "a | b > $X")),))
    with pytest.raises(UsageError):
        shell_pipeline(" \n")


def test_parts_tell_what_each_word_is_for() -> None:
    found = parts("A=1 cat x < in 2>&1 | 'gz ip' -9")
    assert [(part.role, part.token.value, part.stage) for part in found] == [
        ("assignment", "A=1", 1),
        ("program", "cat", 1),
        ("argument", "x", 1),
        ("operator", "<", 1),
        ("file", "in", 1),
        ("operator", ">&", 1),
        ("file", "1", 1),
        ("operator", "|", 1),
        ("program", "gz ip", 2),
        ("argument", "-9", 2),
    ]


@pytest.mark.parametrize(
    ("line", "start", "end", "value", "before", "role"),
    [
        ("▏", 0, 0, "", "", "program"),
        ("gz▏", 0, 2, "gz", "gz", "program"),
        ("cat fo▏obar x", 4, 10, "foobar", "fo", "argument"),
        ("cat ▏foo", 4, 7, "foo", "", "argument"),
        ("cat ▏", 4, 4, "", "", "argument"),
        ("cat 'a b▏", 4, 8, "a b", "a b", "argument"),
        ("cat a\\ b▏", 4, 8, "a b", "a b", "argument"),
        ("cat x |▏", 7, 7, "", "", "program"),
        ("cat x | gz▏", 8, 10, "gz", "gz", "program"),
        ("cat > ou▏", 6, 8, "ou", "ou", "file"),
        ("cat >▏", 5, 5, "", "", "file"),
        ("A=1 ▏", 4, 4, "", "", "program"),
        ("A=x▏ b", 0, 3, "A=x", "A=x", "assignment"),
        ("a * b▏", 4, 5, "b", "b", "argument"),
        ("a #b c▏", 6, 6, "", "", "blank"),
    ],
)
def test_the_word_at_a_cursor(line: str, start: int, end: int, value: str, before: str, role: str) -> None:
    found = word_at(line.replace("▏", ""), line.index("▏"))
    assert found[:5] == (start, end, value, before, role)


def test_the_word_at_a_cursor_knows_its_open_quote() -> None:
    assert word_at("cat 'a b", 8).quote == "'"
    assert word_at("cat 'a b'", 9).quote == ""
