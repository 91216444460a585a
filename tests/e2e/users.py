"""Programs as an ordinary user: what root may do, guards cannot show."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

NOBODY, SOMEBODY = 65534, 65533
"""The ordinary user of a suite that runs as root, and one whose processes that user may neither read nor signal."""
_KEPT = "dac_read_search"
"""The one capability of that user: Python may stand in a folder that is root's own. It opens no process to anybody."""


def as_ordinary_user(uid: int = NOBODY) -> tuple[str, ...]:
    """What to put in front of an argv so that it runs as an ordinary user: nothing for who is one."""
    if os.geteuid() != 0:
        return ()
    return (
        *("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"),
        *(f"--inh-caps=-all,+{_KEPT}", f"--ambient-caps=+{_KEPT}", f"--bounding-set=-all,+{_KEPT}"),
    )


def why_no_ordinary_user() -> str | None:
    """None where programs can run as one."""
    if os.geteuid() != 0:
        return None
    if shutil.which("setpriv") is None:
        return "no setpriv to become an ordinary user with"
    probe = subprocess.run(
        [*as_ordinary_user(), sys.executable, "-c", "import corral"], capture_output=True, check=False
    )
    return None if probe.returncode == 0 else f"cannot become an ordinary user: {probe.stderr!r}"


@pytest.fixture
def his_folder() -> Iterator[Path]:
    """A folder of the ordinary user's own that he can get to: pytest's let nobody but root through."""
    reason = why_no_ordinary_user()
    if reason is not None:
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="corral-user-") as directory:
        if os.geteuid() == 0:
            os.chown(directory, NOBODY, NOBODY)
        yield Path(directory)
