"""What `~`, `$NAME` and globs in a command line become, held against the shells of this machine."""

from __future__ import annotations

import errno
import os
import pwd
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from corral.client.environment import surroundings
from corral.commandline import filesystem_lookup
from corral.commandline.expansion import ExpansionContext
from corral.commandline.filesystem_lookup import expansion_context
from corral.commandline.parser import CommandLineError, parse
from corral.model.spec import Command, Redirection
from corral.model.wire import from_wire, to_wire

VARIABLES = {"A": "1", "BLANKS": "two words", "STARS": "* ?", "EMPTY": "", "DIR": "sub", "HOME": "/home/me"}
NAMES = (
    "a",
    "b",
    "ab",
    "c-d",
    "é",
    "a b",
    "new\nline",
    "*",
    "[",
    "]x",
    "~",
    "$A",
    "-n",
    ".hidden",
    "A.txt",
    "a.txt",
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of odd names, a directory with some more, one that is hidden, and symlinks to it and to nothing."""
    made = tmp_path_factory.mktemp("files")
    for folder in (made, made / "sub", made / ".dot"):
        folder.mkdir(exist_ok=True)
        for name in NAMES:
            (folder / name).touch()
    (made / "link").symlink_to("sub")
    (made / "dangling").symlink_to("nowhere")
    return made


def there(directory: Path, **variables: str) -> ExpansionContext:
    return expansion_context(surroundings(environment=VARIABLES | variables, cwd=str(directory)))


def words(text: str, directory: Path, **variables: str) -> list[str]:
    (command,) = parse(f"x {text}", there(directory, **variables)).stages
    return list(map(from_wire, command.argv[1:]))


# ---- as the shells do it

PIECES = [
    *"ab.-*?[]!~/$",
    *(
        "[ab]",
        "[!ab]",
        "[a-c]",
        "[]a]",
        "[!]a]",
        "[b-a]",
        "[[:upper:]]",
        "[![:upper:]*]",
        "[a/b]",
        "['a-c']",
        '["]"b]',
    ),
    *(
        "''",
        '""',
        "'a'",
        '"*"',
        "'?'",
        "\\*",
        "\\[",
        '"a b"',
        "\\\n",
        "sub/",
        "*/",
        "~/",
        "~root",
        ".txt",
        "a$",
        "é",
    ),
    *(
        "${A}",
        '"$A"',
        '"${DIR}/"',
        "${DIR}",
        "${BLANKS}",
        '"-$STARS-"',
        "${STARS}",
        '"$EMPTY"',
        "'$A'",
        "\\$A",
    ),
]
WORDS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).filter(
    # Of the directories of this machine others make and remove files; of two slashes bash leaves out one.
    lambda pieces: (
        not re.search("^/|//|~root/", re.sub(r"''|\"\"|\\\n|\$\{DIR\}|\"\$EMPTY\"", "", "".join(pieces)))
    )
)
BASH = ("bash", "--posix", "-u", "-O", "globasciiranges", "-c")


def as_sh_quotes(piece: str) -> str:
    """A value is neither split nor globbed: for sh that is what double quotes say."""
    return f'"{piece}"' if piece.startswith("$") and len(piece) > 1 else piece


def seen_by(shell: tuple[str, ...], text: str, directory: Path) -> list[str] | None:
    """The words that the shell passes; None where it refuses."""
    ran = subprocess.run(
        [*shell, f"printf '%s\\0' . {text}"],
        cwd=directory,
        env={**VARIABLES, "LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]},
        capture_output=True,
        timeout=60,
        check=False,
    )
    return None if ran.returncode else os.fsdecode(ran.stdout).split("\0")[1:-1]


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash to hold it against")
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=WORDS)
@example(pieces=["~", "''", "/", "a"])
@example(pieces=["~", "\\\n", "/", "$A"])
@example(pieces=["[", "$A", "]"])
@example(pieces=['""', "*", "/", "?"])
@example(pieces=[".", "*"])
@example(pieces=["[", "''", "]"])
def test_a_word_becomes_what_bash_makes_of_it(pieces: list[str], directory: Path) -> None:
    """What is unset or matches nothing it refuses too, with nounset and failglob."""
    theirs = "".join(map(as_sh_quotes, pieces))
    try:
        ours = words("".join(pieces), directory)
    except CommandLineError as error:
        if "matches no file" in error.problem or "is not set" in error.problem:
            assert seen_by((*BASH[:-1], "-O", "failglob", "-c"), theirs, directory) is None
        return
    assert ours == seen_by(BASH, theirs, directory)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=WORDS.filter(
        lambda pieces: not any(each in "".join(pieces) for each in ("é", "?", "!", ".", "[["))
    )
)
def test_a_word_becomes_what_sh_makes_of_it(pieces: list[str], directory: Path) -> None:
    """Where both take it: dash knows bytes, not letters, and takes `.` and `..` for hidden files."""
    try:
        ours = words("".join(pieces), directory)
    except CommandLineError:
        return
    assert ours == seen_by(("/bin/sh", "-c"), "".join(map(as_sh_quotes, pieces)), directory)


@pytest.mark.parametrize(
    "line",
    [
        'A=2 B=$A C="$B $A" env',
        "B=~ C=~/x:~:'~':~root/y D=a=~ E=x:~/z F=\"~\" G=~'' env",
        "B=* C=[ab] D='*'? env",
        "HOME=/x B=~ C=$HOME env",
        "A=$A$A EMPTY=x$EMPTY PATH=$PATH:/x env",
    ],
)
def test_assignments_become_what_sh_makes_of_them(line: str, directory: Path) -> None:
    environment = {**VARIABLES, "PATH": os.environ["PATH"]}
    ran = subprocess.run(
        ["/bin/sh", "-c", line], cwd=directory, env=environment, capture_output=True, check=True
    )
    theirs = dict(each.split("=", 1) for each in ran.stdout.decode().splitlines())
    (command,) = parse(line, there(directory, PATH=os.environ["PATH"])).stages
    assert dict(command.assignments) == {name: theirs[name] for name, _ in command.assignments}


# ---- to the letter


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("--opt=~/x of=~/x a:~ ~'/x' '~' \\~ x~", ["--opt=~/x", "of=~/x", "a:~", "~/x", "~", "~", "x~"]),
        ("~ ~/x ~root", ["/home/me", "/home/me/x", "/root"]),
        ("$A ${A}b \"$A $BLANKS\" '$A' \\$A", ["1", "1b", "1 two words", "$A", "$A"]),
        ("$BLANKS $STARS x$EMPTY $EMPTY", ["two words", "* ?", "x", ""]),
        ("a$ \"$ x\" $/ $ '$'", ["a$", "$ x", "$/", "$", "$"]),
        ('sub/[ab] "a"* \'*\'* "$DIR"/a?', ["sub/a", "sub/b", "a", "a b", "a.txt", "ab", "*", "sub/ab"]),
        (".h* .[!.]o*", [".hidden", ".dot"]),
        ("[ [] [!] a[ ]", ["[", "[]", "[!]", "a[", "]"]),
        ("link/A.* l*/A.* */A.*", ["link/A.txt", "link/A.txt", "link/A.txt", "sub/A.txt"]),
        ("d*", ["dangling"]),
        ("*/", ["link/", "sub/"]),
        ("**/a", ["link/a", "sub/a"]),
        ("./a.* .//a.*", ["./a.txt", ".//a.txt"]),
        ("new*", ["new\nline"]),
    ],
)
def test_what_words_become(text: str, expected: list[str], directory: Path) -> None:
    assert words(text, directory) == expected


def test_a_program_may_be_expanded_and_several_words_may_come_of_it(directory: Path) -> None:
    (command,) = parse("$DIR/[ab] -x", there(directory)).stages
    assert command.argv == ("sub/a", "sub/b", "-x")
    (command,) = parse("$BLANKS", there(directory)).stages
    assert command.argv == ("two words",)


def test_a_target_of_a_redirection_is_one_word(directory: Path) -> None:
    (command,) = parse("x < ~/in > $BLANKS 2>> '*'", there(directory)).stages
    assert command == Command(
        ("x",),
        (),
        (
            Redirection(0, "read", "/home/me/in"),
            Redirection(1, "write", "two words"),
            Redirection(2, "append", "*"),
        ),
    )


@pytest.mark.parametrize(
    ("text", "marked", "reason"),
    [
        ("x $NOT_SET", "$NOT_SET", "is not set"),
        ('x "a ${NOT_SET}"', "${NOT_SET}", "is not set"),
        ("x $NO\\\nT", "$NO\\\nT", "is not set"),
        ("A=1 B=$C x", "$C", "is not set"),
        ("Z=1 x $Z", "$Z", "is not set"),
        ("Z=1 x | Y=$Z x", "$Z", "is not set"),
        ("x > $NOT_SET", "$NOT_SET", "is not set"),
        ("x | y no*such", "*", "matches no file"),
        ("x sub/no[a-z]such", "[a-z]", "matches no file"),
        ("x $BLANKS*", "*", "matches no file"),
        ("x .*.", "*", "matches no file"),
        ("x [a/b]*", "*", "matches no file"),
        ("x A.txt/*", "*", "matches no file"),
        ("x dangl*/", "*", "matches no file"),
        ("x /no/such/*", "*", "matches no file;"),
        ("x > sub/*", "*", "a redirection needs one"),
        ("x < [ab]", "[ab]", "a redirection needs one"),
        ("x a*[^b]", "[^b]", "write [!…]"),
        ("x ~no-such-user/a", "~no-such-user", "no user is called"),
        ("x ~:/data", "~:", "$HOME"),
        ("$EMPTY x", "$EMPTY", "a program is needed here"),
        ("x > $EMPTY", "$EMPTY", "a file is needed here"),
    ],
)
def test_what_cannot_be_expanded_is_refused_with_its_place(
    text: str, marked: str, reason: str, directory: Path
) -> None:
    with pytest.raises(CommandLineError) as caught:
        parse(text, there(directory))
    error = caught.value
    assert text[error.position : error.position + error.length] == marked
    assert reason in str(error)
    assert "\n" not in str(error)
    assert not error.needs_shell


def test_what_the_line_sets_is_named_as_the_reason(directory: Path) -> None:
    with pytest.raises(
        CommandLineError, match=r"column 7: \$Z is not set; Z=… in front of a program is for that program"
    ):
        parse("Z=1 x $Z", there(directory))


def test_without_a_home_it_is_the_one_of_the_user(directory: Path) -> None:
    around = surroundings(environment={}, cwd=str(directory))
    (command,) = parse("x ~", expansion_context(around)).stages
    assert command.argv[1] == pwd.getpwuid(os.getuid()).pw_dir
    assert words("~/x", directory, HOME="/") == ["/x"]


# ---- directories


def test_names_that_are_no_text_are_found_and_sorted_by_their_bytes(tmp_path: Path) -> None:
    names = [
        b"z",
        b"\xff",
        b"\xe9.txt",
        "é.txt".encode(),
        b"A",
        b"\xf0\x9f\x90\x8e",
        b"\xef\xbf\xbd",
        b"new\nline",
    ]
    for name in names:
        (tmp_path / os.fsdecode(name)).touch()
    found = parse("x *", there(tmp_path)).stages[0].argv[1:]
    assert [os.fsencode(from_wire(each)) for each in found] == sorted(names)
    assert words("?.txt", tmp_path) == [os.fsdecode("é.txt".encode()), os.fsdecode(b"\xe9.txt")]
    written = to_wire(os.fsdecode(b"x \xe9*"))
    assert parse(written, there(tmp_path)).stages[0].argv[1:] == (to_wire(os.fsdecode(b"\xe9.txt")),)


def test_a_directory_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def scandir(path: str) -> object:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(os, "scandir", scandir)  # root, which may run this, reads everything
    with pytest.raises(
        CommandLineError, match=r"matches no file that can be seen: .*/closed/: permission denied"
    ):
        words("closed/*", tmp_path)


def test_no_more_is_looked_for_than_a_program_can_be_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystem_lookup, "MOST_BYTES", 1000)
    for number in range(100):
        (tmp_path / f"{number:010}").touch()
    assert len(words("*[0-4]", tmp_path)) == 50
    with pytest.raises(
        CommandLineError, match=r'column 3: "\*" matches more files than a program can be given'
    ):
        words("*", tmp_path)


def test_a_look_that_takes_too_long_leaves_the_word_as_it_is_typed(directory: Path) -> None:
    around = surroundings(environment={}, cwd=str(directory))
    hurried = parse("x */*", expansion_context(around, seconds=-1))
    assert hurried.stages[0].argv == ("x", "*/*")


def test_stars_cost_no_time(tmp_path: Path) -> None:
    (tmp_path / ("a" * 250)).touch()
    began = time.perf_counter()
    with pytest.raises(CommandLineError):
        words("*a" * 40 + "b[b]", tmp_path)
    assert time.perf_counter() - began < 1
