"""What a program can be given is what the kernel says, to the byte."""

from __future__ import annotations

import errno
import os
import resource
import subprocess

import pytest

from corral.platform.spawn import arg_max

STACK = resource.getrlimit(resource.RLIMIT_STACK)[0]
ENVIRONMENT = {b"PATH": b"/bin", b"A": b"x" * 100}


def does_start(argv: list[bytes], environment: dict[bytes, bytes]) -> bool:
    try:
        subprocess.run(
            [os.fsdecode(word) for word in argv], executable="/bin/true", env=environment, check=True
        )
    except OSError as error:
        return error.errno != errno.E2BIG
    return True


def filled(size: int) -> list[bytes]:
    """Arguments that take so many bytes with the environment."""
    argv = [b"true", *[b"y" * 999] * ((size - 2000) // 1008)]
    rest = size - arg_max._size("/bin/true", [*argv, b""], ENVIRONMENT)
    return [*argv, b"z" * rest]


@pytest.mark.parametrize(
    ("argv", "environment"),
    [
        (filled(arg_max.room(STACK)), ENVIRONMENT),
        ([b"true", b"x" * (arg_max.LONGEST_STRING - 1)], {}),
        ([b"true"], {b"AB": b"x" * (arg_max.LONGEST_STRING - 4)}),
    ],
    ids=["all together", "one argument", "one variable"],
)
def test_one_byte_more_is_too_much(argv: list[bytes], environment: dict[bytes, bytes]) -> None:
    assert arg_max.why_not("/bin/true", argv, environment, STACK) is None
    assert does_start(argv, environment)
    if len(argv) > 1:
        argv = [*argv[:-1], argv[-1] + b"z"]
    else:
        environment = {name: value + b"z" for name, value in environment.items()}
    assert arg_max.why_not("/bin/true", argv, environment, STACK)
    assert not does_start(argv, environment)


def test_room_is_a_quarter_of_the_stack_within_bounds() -> None:
    assert [arg_max.room(stack) for stack in (8 << 20, 1 << 20, 1 << 10, 1 << 30, -1)] == [
        2 << 20,
        256 << 10,
        128 << 10,
        6 << 20,
        6 << 20,
    ]
