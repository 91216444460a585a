"""What a client gives its job arrives byte for byte, whatever the client's locale says that bytes mean."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from e2e.command import Corral

ODD = b"caf\xc3\xa9 \xe9\xff \xc3\xa0"
"""UTF-8 and Latin-1 side by side; in Latin-1 the last byte is a space."""
SHOW = 'printf "%s|" "$1" "$VARIABLE" "$FROM_FILE"; pwd; cat'


@pytest.fixture
def locales(tmp_path: Path) -> dict[str, dict[str, str]]:
    """Environments by what Python decodes by: UTF-8 mode, ASCII, and a Latin-1 locale compiled here, where it can be."""
    found = {
        "C": {"LC_ALL": "C"},
        "ascii": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    }
    if shutil.which("localedef"):
        made = tmp_path / "en_US.ISO-8859-1"
        subprocess.run(
            ["localedef", "-i", "en_US", "-f", "ISO-8859-1", made], check=False, capture_output=True
        )
        if made.exists():
            found["Latin-1"] = {"LOCPATH": str(tmp_path), "LC_ALL": made.name}
    return found


def test_arguments_variables_and_names_arrive_as_they_are(
    corral: Corral, locales: dict[str, dict[str, str]]
) -> None:
    directory = os.path.join(os.fsencode(corral.directory), b"in \xe9 \xc3\xa9")
    os.mkdir(directory)
    (corral.directory / "variables").write_bytes(b"FROM_FILE=" + ODD + b"\n")
    with open(os.path.join(directory, ODD), "wb") as file:
        file.write(b"read")
    # Whichever client starts the daemon; the others find it.
    for name, settings in reversed(locales.items()):
        environment = {**corral.environment, **settings, "VARIABLE": os.fsdecode(ODD)}
        files = ["--stdin", ODD, "--env-file", corral.directory / "variables"]
        ended = subprocess.run(
            [*corral.argv, "run", "-w", *files, "sh", "-c", SHOW, "sh", ODD],
            cwd=directory,
            env=environment,
            capture_output=True,
            timeout=30,
            check=False,
        )
        assert ended.stdout == b"|".join([ODD, ODD, ODD, directory + b"\nread"]), (name, ended)
        line = b"cat '" + ODD + b"' > 'copy \xe9'"
        ended = subprocess.run(
            [*corral.argv, "run", "-w", line], cwd=directory, env=environment, timeout=30, check=False
        )
        assert ended.returncode == 0, name
        os.unlink(os.path.join(directory, b"copy \xe9"))
    ended = subprocess.run(
        [*corral.argv, "run", b"n\xc3\xa9"], env=environment, capture_output=True, timeout=30, check=False
    )
    assert ended.returncode == 127
    assert "no such program: né;".encode() in ended.stderr


def test_what_is_not_there_is_named_whatever_its_bytes(corral: Corral) -> None:
    """An answer that could not be sent was never given, and such a job kept every later list from being sent."""
    for options in (["-C", ODD, "true"], ["--pty", "-C", ODD, "true"], ["--stdin", ODD, "true"], [ODD]):
        ended = subprocess.run(
            [*corral.argv, "run", *options],
            cwd=corral.directory,
            env=corral.environment,
            capture_output=True,
            timeout=30,
            check=False,
        )
        assert ended.returncode in (125, 127), ended
        assert b"no such " in ended.stderr.lower(), ended
    assert [job["state"] for job in json.loads(corral.ok("ps", "-a", "--json"))] == ["failed"] * 4
