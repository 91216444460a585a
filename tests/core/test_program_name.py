"""Which program a stage is about, whatever starts it."""

from __future__ import annotations

import shlex

import pytest

from corral.commandline.program_name import LONGEST_NAME, program_name, program_words


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("gzip -9", "gzip -9"),
        ("/usr/bin/gzip -9", "gzip -9"),
        ("nice -n 19 gzip -9", "gzip -9"),
        ("nice -19 gzip", "gzip"),
        ("nice --adjustment=5 gzip", "gzip"),
        ("env -i A=1 B=2 sort -n", "sort -n"),
        ("env -u HOME -- sort", "sort"),
        ("nohup sort", "sort"),
        ("timeout -k 5 10 curl x", "curl x"),
        ("timeout --foreground 10s curl x", "curl x"),
        ("stdbuf -oL grep x", "grep x"),
        ("stdbuf -o L grep x", "grep x"),
        ("sudo -u postgres pg_dump shop", "pg_dump shop"),
        ("sudo A=1 nice -n 5 env B=2 timeout 9 sort", "sort"),
        ("nice -n 5 python3.11 -u -m http.server 8080", "server 8080"),
        ("python train.py --epochs 4", "train --epochs 4"),
        ("/opt/bin/python3 -W error /srv/app/train.py", "train"),
        ("python -c pass", "python -c pass"),
        ("python", "python"),
        ("python -m", "python -m"),
        ("env", "env"),
        ("nice -n 5", "nice -n 5"),
        ("timeout 5", "timeout 5"),
        ("pythonista x", "pythonista x"),
        ("env A=1 -u B nice sort", "env A=1 -u B nice sort"),
        ("env -u B A=1 nice -n 5 prog", "prog"),
        ("env - A=1 prog x", "prog x"),
        ("env -S 'A=1 prog'", "env -S A=1 prog"),
        ("env --split-string 'prog x'", "env --split-string prog x"),
        ("timeout -s KILL 5 prog", "prog"),
        ("timeout --signal=KILL 5 prog", "prog"),
        ("timeout --sig KILL 5 prog", "prog"),
        ("timeout --new-option 5 prog", "timeout --new-option 5 prog"),
        ("sudo -nE -u x prog", "prog"),
        ("sudo -i prog", "sudo -i prog"),
        ("doas -u x prog", "prog"),
        ("setsid -w prog", "prog"),
        ("ionice -c 3 prog", "prog"),
        ("ionice -p 12", "ionice -p 12"),
        ("chrt -b 0 prog", "prog"),
        ("taskset -c 0-3 prog", "prog"),
        ("taskset 0x1 prog", "prog"),
        ("time -p prog", "prog"),
        ("flock -n /tmp/lock prog x", "prog x"),
        ("flock /tmp/lock -c 'prog x'", "prog x"),
        ("sh -c 'exec gzip -9'", "gzip -9"),
        ("sh -c 'nice gzip -9'", "gzip -9"),
        ("sh -c 'cd /srv; make'", "sh -c cd /srv; make"),
        ("sh -c 'while read x'", "sh -c while read x"),
        ("bash -l prog", "bash -l prog"),
        ("xargs gzip", "xargs gzip"),
        ("nice ''", "nice "),
    ],
)
def test_a_wrapper_stands_for_what_it_starts(command: str, words: str) -> None:
    assert " ".join(program_words(shlex.split(command))) == words


def test_no_argv_has_no_words() -> None:
    assert program_words(()) == ()


@pytest.mark.parametrize(
    ("program", "name"),
    [
        ("/usr/bin/gzip", "gzip"),
        ("gzip", "gzip"),
        ("./a/", "a"),
        ("/", "/"),
        ("x" * 1000, "x" * LONGEST_NAME),
    ],
)
def test_a_stage_is_called_as_its_program(program: str, name: str) -> None:
    assert program_name([program, "-9"]) == name
    assert program_name(["nice", program, "-9"]) == name


def test_a_wrapper_around_many_wrappers_is_given_up() -> None:
    assert program_name(("nice",) * 9 + ("gzip",)) == "nice"
