"""The nonce of a home: its part of every mark. Stored in the journal and in `home.json`; if both are lost, found in marks."""

from __future__ import annotations

import json
import os
import secrets
from collections import Counter
from typing import Any

from corral.home.directory import private_file
from corral.model.errors import CorralError
from corral.model.home import Home
from corral.platform.host.procfs import pids, read_file
from corral.platform.process import mark
from corral.platform.process.mark import NONCE_BITS


def known(home: Home, in_journal: str | None) -> int | None:
    """The nonce that this home has had so far; None if it has none.

    If journal and `home.json` disagree, one of them was damaged: the running processes decide.
    """
    in_file, usable = noted(home), _usable(in_journal)
    if in_file is not None and in_file == usable:
        return in_file
    has_run = in_file is not None or usable is not None or bool(os.listdir(home.jobs))
    return (_of_running_jobs(home) if has_run else None) or usable or in_file


def _usable(text: str | None) -> int | None:
    value = int(text) if text is not None and text.isdecimal() else 0
    return value if 0 < value < 1 << NONCE_BITS else None


def new() -> int:
    return 1 + secrets.randbelow((1 << NONCE_BITS) - 1)


def content(home: Home) -> dict[str, Any]:
    """The content of `home.json`; empty if it is missing or unusable."""
    try:
        with open(home.identity_file, "rb") as file:
            found = json.loads(file.read(1 << 16))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def noted(home: Home) -> int | None:
    """The nonce in `home.json`."""
    nonce = content(home).get("nonce")
    return nonce if isinstance(nonce, int) and 0 < nonce < 1 << NONCE_BITS else None


def note(home: Home, what: dict[str, Any]) -> None:
    """Replace `home.json` as a whole: rename(2) is atomic. Raises CorralError."""
    draft = home.identity_file + ".new"
    try:
        private_file(draft)
        with open(draft, "w", encoding="utf-8") as file:
            json.dump(what, file)
        os.rename(draft, home.identity_file)
    except OSError as error:
        raise CorralError(f"cannot write {home.identity_file}: {error.strerror}") from None


def _of_running_jobs(home: Home) -> int | None:
    """The nonce in the marks of most processes whose environment names this home and their job; None without any.

    Only processes of our own uid count: other users control their own environments.
    """
    found: Counter[int] = Counter()
    for pid in pids():
        try:
            carried = mark.read(pid)
            if carried is not None and os.stat(f"/proc/{pid}").st_uid == os.geteuid():
                found[carried.nonce] += _is_of(home, pid, carried.job)
        except (PermissionError, FileNotFoundError):
            continue
    best = found.most_common(1)
    return best[0][0] if best and best[0][1] else None


def _is_of(home: Home, pid: int, job: int) -> bool:
    entries = (read_file(f"/proc/{pid}/environ") or b"").split(b"\0")
    return b"CORRAL_HOME=" + os.fsencode(home.path) in entries and b"CORRAL_JOB_ID=%d" % job in entries
