"""What kind of file something is, as stat(2) says."""

from __future__ import annotations

import os
import sys

from corral.platform.files.file_kind import kind_of


def test_it_says_what_stat_says(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("fifo")
    for path in (str(tmp_path), str(tmp_path / "fifo"), str(tmp_path / "link"), "/dev/null", sys.executable):
        told, found = os.stat(path), kind_of(path)
        assert found is not None
        assert (found.mode, found.inode, found.device) == (told.st_mode, told.st_ino, told.st_dev), path


def test_what_is_not_there_is_none(tmp_path):
    assert kind_of(str(tmp_path / "nothing")) is None
