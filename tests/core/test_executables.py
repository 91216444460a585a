"""Which file a program's name means, and what is said of one that may not be executed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corral.model.errors import CannotStartError
from corral.platform.spawn.executables import find_program


@pytest.mark.parametrize("by_path", [True, False])
@pytest.mark.parametrize(
    ("name", "content", "advice"),
    [
        ("tool", b"#!/bin/sh\n", "chmod +x lets it run"),
        ("tool", b"\x7fELF\x02\x01", "chmod +x lets it run"),
        ("tool.sh", b"echo hello\n", "it has no #! line: put its interpreter in front"),
        ("passwd", b"root:x:0:0\n", "it is no program"),
        ("empty", b"", "it is no program"),
    ],
)
def test_what_to_do_fits_the_file(
    by_path: bool, name: str, content: bytes, advice: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    path.chmod(0o600)
    shown = f"./{name}" if by_path else str(path)
    with pytest.raises(CannotStartError) as raised:
        find_program(shown if by_path else name, str(tmp_path), str(tmp_path))
    assert str(raised.value) == f"not executable: {shown}; {advice}"
    assert raised.value.status == 126


def test_a_fifo_is_not_opened_to_find_out(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(CannotStartError, match="fifo; it is no program"):
        find_program("./fifo", "", str(tmp_path))


def test_the_first_that_may_be_executed_is_taken(tmp_path: Path) -> None:
    for folder, mode in (("one", 0o600), ("two", 0o700)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "tool").write_bytes(b"#!/bin/sh\n")
        (tmp_path / folder / "tool").chmod(mode)
    assert find_program("tool", f"{tmp_path}/one:two", str(tmp_path)) == str(tmp_path / "two" / "tool")
