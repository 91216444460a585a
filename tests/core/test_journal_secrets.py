"""What was removed from the journal is in none of its files any more: environments hold secrets."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
from msgspec.structs import replace

from corral.journal import shrink
from corral.journal.journal import Journal
from corral.model.home import Home
from journals import AT, PLACE, ended, spec


def holds(home: Home, raw: bytes) -> list[str]:
    files = [path for path in Path(home.path).iterdir() if path.is_file()]
    return [path.name for path in files if raw in path.read_bytes()]


@pytest.mark.parametrize("size", [40, 40_000])
def test_a_removed_environment_is_overwritten(tmp_path: Path, size: int) -> None:
    home = Home(str(tmp_path / "home"))
    journal = Journal.open(home)
    # Random, so that zlib can but store it: the bytes of the file hold it as it is.
    token = secrets.token_urlsafe(size)
    (kept,) = journal.add_jobs([spec(name="kept")], PLACE, AT)
    (job,) = journal.add_jobs([spec("secret", token)], replace(PLACE, environment={"TOKEN": token}), AT)
    journal.commit()
    ((content,),) = journal.select("SELECT content FROM environments ORDER BY length(content) DESC LIMIT 1")
    assert holds(home, content[20:60])
    journal.job_ended(ended(job, spec("secret", token)))
    journal.commit()
    assert holds(home, token[:30].encode())
    journal.remove([job])
    journal.commit()
    shrink.truncate(home.journal)
    assert holds(home, content[20:60]) == holds(home, token[:30].encode()) == []
    assert journal.unended_ids() == [kept]
    journal.close()
