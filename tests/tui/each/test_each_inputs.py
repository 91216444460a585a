"""Where the inputs of a batch come from, as GNU parallel 20221122 makes them of the same words."""

from __future__ import annotations

import itertools
import os
import pty
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from corral.batch.template import Template
from corral.commandline.parser import parse
from corral.model.batch import BatchInput
from corral.model.errors import UsageError
from corral.model.wire import to_wire
from corral_tui.cli.each.inputs import InputOptions, open_inputs, rows, split_words
from corral_tui.cli.each.record_file import LONGEST_RECORD, READ_BYTES


def _found(inputs: Iterable[BatchInput | int]) -> list[BatchInput]:
    found = list(inputs)
    assert all(isinstance(one, BatchInput) for one in found)
    return [one for one in found if isinstance(one, BatchInput)]


def _texts(*words: str, files: tuple[str, ...] = (), is_null: bool = False) -> list[str]:
    options = InputOptions(split_words(words)[1], files, is_null)
    return [one.text for one in _found(open_inputs(options))]


def _commands(line: str, *words: str, at_a_time: int = 1, separator: str | None = None) -> list[str]:
    """What each job is given, its words joined by a blank."""
    options = InputOptions(split_words(words)[1], (), False, separator, at_a_time)
    template = Template(parse(line), lines=separator is not None)
    pipelines = [template.fill(one, number, 1) for number, one in enumerate(_found(open_inputs(options)), 1)]
    return [" ".join(pipeline.stages[0].argv) for pipeline in pipelines]


def test_all_behind_the_first_separator_is_input() -> None:
    command, given = split_words(["-j2", "gzip", "-9", ":::", "--", "-n", "::::", ":::", "x", ":::+", "y"])
    assert command == ["-j2", "gzip", "-9"]
    assert [(source.words, source.is_linked) for source in given] == [
        (("--", "-n", "::::"), False),
        (("x",), False),
        (("y",), True),
    ]
    assert split_words(["gzip", "-9"]) == (["gzip", "-9"], ())
    with pytest.raises(UsageError, match="--arg-file"):
        split_words(["gzip", "::::", "names"])


@pytest.mark.parametrize(
    ("words", "commands"),
    [
        ("::: 1 2 ::: a b", ["1 a", "1 b", "2 a", "2 b"]),
        ("::: 1 2 :::+ a b c", ["1 a", "2 b"]),
        ("::: 1 2 3 :::+ a b", ["1 a", "2 b"]),
        ("::: 1 2 :::+ a b ::: X Y", ["1 a X", "1 a Y", "2 b X", "2 b Y"]),
        ("::: 1 2 ::: X Y Z :::+ a b", ["1 X a", "1 Y b", "2 X a", "2 Y b"]),
        ("::: 1 2 ::: X Y :::+ a b :::+ p q", ["1 X a p", "1 Y b q", "2 X a p", "2 Y b q"]),
        (":::+ a b", ["a", "b"]),
        (":::", []),
        ("::: :::", []),
        ("::: 1 2 :::", ["1 ", "2 "]),
        ("::: 1 2 :::+", ["1 "]),
        ("::: ::: a b", [" a", " b"]),
        ("::: :::+ a", [" a"]),
        ("::: a ::: b -- -n", ["a b", "a --", "a -n"]),
    ],
)
def test_sources_are_combined_and_paired(words: str, commands: list[str]) -> None:
    assert _commands("echo", *words.split()) == [f"echo {command}" for command in commands]


def test_an_empty_word_is_an_input() -> None:
    assert _commands("echo {}.", ":::", "") == ["echo ."]
    assert _commands("echo {1}{2}.", ":::", "a b", ":::", "", "*") == ["echo a b.", "echo a b*."]


@pytest.mark.parametrize(
    ("line", "words", "at_a_time", "commands"),
    [
        ("echo", "::: 1 2 3", 2, ["echo 1 2", "echo 3"]),
        ("echo {1} {2}", "::: 1 2 3", 2, ["echo 1 2", "echo 3"]),
        ("echo {1}-{2}-{3}", "::: 1 2 3 4", 3, ["echo 1-2-3", "echo 4--"]),
        ("echo {}", "::: 1 2 3 ::: a b", 2, ["echo 1 a 1 b", "echo 2 a 2 b", "echo 3 a 3 b"]),
        ("echo {1} x {2} x {3}", "::: 1 2 ::: a b", 2, ["echo 1 x a x 1", "echo 2 x a x 2"]),
        ("echo", "::: 1 2 3 :::+ a b c", 2, ["echo 1 a 2 b", "echo 3 c"]),
        ("echo {.}", "::: a.x b.y c.z", 2, ["echo a b", "echo c"]),
        ("echo pre{}post", "::: a.x b.y c.z", 2, ["echo prea.x b.ypost", "echo prec.zpost"]),
    ],
)
def test_several_inputs_for_one_job(line: str, words: str, at_a_time: int, commands: list[str]) -> None:
    assert _commands(line, *words.split(), at_a_time=at_a_time) == commands


@pytest.mark.parametrize(
    ("line", "separator", "text", "command"),
    [
        ("echo {1}/{2}", ",", "a,b", "echo a/b"),
        ("echo {1}/{2}", ",", "f", "echo f/"),
        ("echo {1}/{2}", "[,;]", "a,b;c", "echo a/b"),
        ("echo {1}/{2}/{3}.", ",", "a,b,,", "echo a/b/."),
        ("echo {1}/{2}/{3}.", ",", ",a", "echo /a/."),
        ("echo {1}/{2}/{3}.", "(,)", "a,b,c", "echo a/,/b."),
        ("echo {1}/{2}/{3}.", "", "abc", "echo a/b/c."),
        ("echo {2}", "|", "a|b", "echo |"),
        ("echo {1}/{2}/{3}.", " *", "a b  c", "echo a/b/c."),
        ("echo {1}/{2}/{3}.", "\\t", "a\tb", "echo a/b/."),
        ("echo {1}.{2}.{3}.", ",", "a , b ,c", "echo a.b.c."),
        ("echo {1}.{2}.{3}.", " +", " c d ", "echo .c.d."),
        ("echo {2.} {2/} {-1}", ",", "x,a/b.c,d", "echo a/b b.c d"),
        ("echo", ",", " a , b ", "echo  a , b "),
        ("echo {} {1}", ",", "a,b", "echo a,b a"),
    ],
)
def test_columns(line: str, separator: str, text: str, command: str) -> None:
    assert _commands(line, ":::", text, separator=separator) == [command]


def test_columns_of_several_sources_and_inputs() -> None:
    assert _commands("echo {1}/{2}/{3}", ":::", "a,b", "c,d", ":::", "x,y", separator=",") == [
        "echo a/b/x",
        "echo c/d/x",
    ]
    three = ("a,b", "c,d", "e,f")
    assert _commands("echo {1}/{2}/{3}/{4}", ":::", *three, separator=",", at_a_time=2) == [
        "echo a/b/c/d",
        "echo e/f//",
    ]


def test_what_is_no_expression_is_refused() -> None:
    with pytest.raises(UsageError, match="--colsep"):
        open_inputs(InputOptions(split_words([":::", "a"])[1], column_separator="("))


def test_no_two_inputs_of_several_words_have_one_text() -> None:
    assert _texts(":::", "a b", ":::", "c") == ["'a b' c"]
    assert _texts(":::", "a", ":::", "b c") == ["a 'b c'"]
    assert _texts(":::", "a b") == ["a b"]


def test_only_the_newline_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"x\n\n y \r\n\xff\xc3\xa4\nlast")
    assert _texts(files=(str(path),)) == ["x", "", " y \r", to_wire(os.fsdecode(b"\xff\xc3\xa4")), "last"]
    path.write_bytes(b"x\n")
    assert _texts(files=(str(path),)) == ["x"]
    path.write_bytes(b"a\0b\nc\0\0d")
    assert _texts(files=(str(path),), is_null=True) == ["a", "b\nc", "", "d"]


def test_files_are_combined_with_words(tmp_path: Path) -> None:
    for name in ("12", "ab", ""):
        (tmp_path / f"f{name}").write_text("".join(f"{letter}\n" for letter in name))
    one, two, empty = (str(tmp_path / name) for name in ("f12", "fab", "f"))
    assert _texts(files=(one, two)) == ["1 a", "1 b", "2 a", "2 b"]
    assert _texts(":::", "x", "y", files=(one,)) == ["1 x", "1 y", "2 x", "2 y"]
    assert _texts(":::+", "x", "y", "z", files=(one,)) == ["1 x", "2 y"]
    assert _texts(files=(empty, one)) == ["'' 1", "'' 2"]
    assert _texts(files=(one, empty)) == ["1 ''", "2 ''"]
    assert _texts(files=(empty,)) == _texts(files=(empty, empty)) == []


def test_what_cannot_be_read_is_refused_at_once(tmp_path: Path) -> None:
    for path, why in ((tmp_path / "none", "No such file"), (tmp_path, "directory")):
        with pytest.raises(UsageError, match=why):
            open_inputs(InputOptions(files=(str(path),)))
    leader, follower = pty.openpty()
    try:
        with pytest.raises(UsageError, match="terminal"):
            open_inputs(InputOptions(files=(os.ttyname(follower),)))
    finally:
        os.close(leader)
        os.close(follower)


def test_what_no_argument_can_hold_is_refused_behind_what_came_before(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"fine\n" * 20000 + b"a\0b\n")
    inputs = open_inputs(InputOptions(files=(str(path),)))
    found: list[BatchInput | int] = []
    with pytest.raises(UsageError, match="--null"):
        found.extend(inputs)
    assert found == [BatchInput("fine", ("fine",))] * 20000


def test_an_input_has_an_end(tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.write_bytes(b"x" * (LONGEST_RECORD + READ_BYTES))
    with pytest.raises(UsageError, match="longer"):
        next(open_inputs(InputOptions(files=(str(path),))))


def test_a_pipe_is_read_as_it_fills(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    inputs = open_inputs(InputOptions(split_words([":::", "x"])[1], (str(path),)))
    waits_for = next(inputs)
    assert isinstance(waits_for, int)
    with path.open("wb", buffering=0) as writer:
        writer.write(b"1\n2\nun")
        assert [next(inputs), next(inputs)] == [BatchInput("1 x", ("1", "x")), BatchInput("2 x", ("2", "x"))]
        assert next(inputs) == waits_for
        writer.write(b"finished\n")
        assert next(inputs) == BatchInput("unfinished x", ("unfinished", "x"))
        writer.write(b"end")
        assert next(inputs) == waits_for
    assert next(inputs) == BatchInput("end x", ("end", "x"))
    assert next(inputs, None) is None


def test_the_first_source_may_be_endless() -> None:
    def endless() -> Iterator[str]:
        return map(str, itertools.count())

    found = rows([[endless()], [["a", "b"], endless()]])
    assert list(itertools.islice(found, 3)) == [("0", "a", "0"), ("0", "b", "1"), ("1", "a", "0")]
