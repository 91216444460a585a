"""What the verbs that must be fast do not load."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_HEAVY = {
    "asyncio",
    "rich",
    "psutil",
    "textual",
    "subprocess",
    "platformdirs",
    "sqlalchemy",
    "shutil",
    "tempfile",
}


def _loaded(code: str, home: Path) -> set[str]:
    """The modules in `sys.modules` after `code`."""
    script = f"{code}\nimport sys\nprint('\\n' + ' '.join(sys.modules))"
    ended = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        env={**os.environ, "CORRAL_HOME": os.fspath(home)},
    )
    return set(ended.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("words", [["ps"], ["ps", "-a", "-q"], ["ps", "--state", "running"]])
def test_ps_loads_neither_click_nor_anything_heavy(words: list[str], tmp_path: Path) -> None:
    loaded = _loaded(f"from corral_tui.main import main; assert main({words!r}) == 0", tmp_path / "home")
    assert "corral_tui.cli.jobs.ps_list" in loaded
    assert loaded & (_HEAVY | {"click"}) == set()


def test_run_loads_nothing_heavy(tmp_path: Path) -> None:
    code = "from corral_tui.main import main; import corral_tui.cli.run.run_and_wait; assert main(['run', 'a |']) == 125"
    loaded = _loaded(code, tmp_path / "home")
    assert "corral_tui.cli.run.run" in loaded
    # click itself loads shutil. Where the settings are, which may have defaults for `run`, platformdirs knows (5 ms; where
    # CORRAL_HOME is not set it is asked for the home anyway).
    assert loaded & (_HEAVY - {"shutil", "tempfile", "platformdirs"}) == set()
    assert "corral_tui.cli.jobs.show" not in loaded
