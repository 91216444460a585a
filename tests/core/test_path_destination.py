"""Where a path leads, and which file systems may hang: read from the kernel's table, never asked of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corral.platform.files.hanging_mounts import HangingMounts, parse
from corral.platform.files.path_destination import (
    DESCRIPTOR,
    FILE,
    HANGS,
    OWN,
    TERMINAL,
    destination,
    file_that_may_hang,
)
from frozen import file_system
from until import until

TABLE = rb"""
22 27 0:21 / /proc rw,relatime - proc proc rw
23 22 0:30 / /proc/sys/fs/binfmt_misc rw - autofs systemd-1 rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
28 27 0:31 / /home rw shared:3 master:1 - nfs4 server:/home rw
29 27 0:32 / /mnt/a\040b\134c rw - fuse.sshfs host: rw
30 27 0:33 / /mnt/covered rw - cifs //server/share rw
31 30 0:34 / /mnt/covered rw - tmpfs tmpfs rw
32 27 0:35 / /mnt/new rw - somethingnew x rw
""".strip()


def test_the_table_tells_which_may_hang() -> None:
    assert parse(TABLE) == {"/home", "/mnt/a b\\c", "/mnt/new"}


def test_what_we_stand_on_does_not_count() -> None:
    assert parse(TABLE, "/home/me/.local/state/corral") == {"/mnt/a b\\c", "/mnt/new"}
    assert parse(b"27 1 0:40 / / rw - fuse.fuse-overlayfs fuse-overlayfs rw", "/var") == frozenset()


@pytest.mark.parametrize(
    ("path", "kind", "number"),
    [
        ("/dev/stdin", DESCRIPTOR, 0),
        ("/dev/stdout", DESCRIPTOR, 1),
        ("/dev/../dev/./stderr", DESCRIPTOR, 2),
        ("/dev/fd/17", DESCRIPTOR, 17),
        ("/proc/self/fd/1", DESCRIPTOR, 1),
        ("//proc//self/./fd//1", DESCRIPTOR, 1),
        ("/proc/thread-self/fd/2", DESCRIPTOR, 2),
        ("/dev/tty", TERMINAL, -1),
        ("/proc/self/status", OWN, -1),
        ("/proc/self/fd/x", OWN, -1),
        ("/proc/self/fd", OWN, -1),
        ("/dev/null", FILE, -1),
        ("/proc/1/status", FILE, -1),
        ("/no/such/place", FILE, -1),
    ],
)
def test_where_names_lead_that_mean_something_else_to_each_process(path: str, kind: str, number: int) -> None:
    found = destination(path)
    assert (found.kind, found.number) == (kind, number)


def test_links_are_followed(tmp_path: Path) -> None:
    for name, target in (
        ("out", "/dev/stdout"),
        ("again", "out"),
        ("folder", "/proc/self"),
        ("loop", "loop"),
    ):
        (tmp_path / name).symlink_to(target)
    assert destination(f"{tmp_path}/again").number == 1
    assert destination(f"{tmp_path}/folder/fd/2").number == 2
    assert destination(f"{tmp_path}/folder/../{tmp_path}/out").kind == OWN
    assert destination(f"{tmp_path}/loop").kind == FILE


def test_nothing_on_a_file_system_that_may_hang_is_touched(tmp_path: Path) -> None:
    mounts = HangingMounts("/")
    before = mounts.may_hang
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "server" / "folder")
    with file_system(tmp_path / "server") as files:
        opened = os.open(files.path / "f", os.O_RDONLY)
        files.freeze()
        assert mounts.may_hang == before | {str(files.path)}
        for path in (f"{files.path}/f", str(files.path), f"{link}/x", f"{files.path}/../server/f"):
            assert (destination(path, mounts.may_hang).kind, destination(path, mounts.may_hang).place) == (
                HANGS,
                str(files.path),
            )
        assert file_that_may_hang(opened, mounts.may_hang) == f"{files.path}/f"
        with open(link.parent / "here", "wb") as here:
            assert file_that_may_hang(here.fileno(), mounts.may_hang) is None
        files.thaw()
        os.close(opened)
    until(lambda: mounts.may_hang == before, "the table to be read anew")
    mounts.close()
