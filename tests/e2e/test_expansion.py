"""`~`, `$NAME` and globs of a command line: what a job is given, whoever starts it, and that it stays so."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from e2e.command import Corral

SHOW = 'printf "%s|"'


def _job(corral: Corral, job: str = "@") -> Any:
    (found,) = json.loads(corral.ok("ps", "--json", job))
    return found


def test_a_line_is_expanded_by_its_environment_and_in_its_directory(corral: Corral) -> None:
    place = corral.directory / "place"
    place.mkdir()
    for name in ("b.txt", "a b.txt", ".c.txt", "new\nline.txt"):
        (place / name).touch()
    (corral.directory / "variables").write_text("FILE='from file'\n")
    said = corral.ok(
        *("run", "-w", "-C", "place", "-e", "OWN=$x *", "--env-file", "variables"),
        f"{SHOW} *.txt ~/x \"$OWN\" $OWN ${{FILE}} '$OWN' \\* --o=~ $PWD",
    )
    home = corral.environment["HOME"]
    expected = [
        "a b.txt",
        "b.txt",
        "new\nline.txt",
        f"{home}/x",
        "$x *",
        "$x *",
        "from file",
        "$OWN",
        "*",
        "--o=~",
    ]
    assert said.split("|") == [*expected, str(place), ""]
    # Several words, and what stands behind --, are passed as they are.
    assert corral.ok("run", "-w", "--", "printf", "%s|", "~", "$HOME", "*") == "~|$HOME|*|"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("echo $NOT_SET", "column 6: $NOT_SET is not set; "),
        ("echo *.no", 'column 6: "*.no" matches no file in '),
        ("echo x > *", 'column 10: "*" may match several files, but a redirection needs one; '),
        ("A=1 echo $A", "column 10: $A is not set; A=… in front of a program is for that program alone; "),
        # A job's own id is not known before it starts, and that of a job around us is another's.
        ("echo $CORRAL_JOB_ID", "column 6: $CORRAL_JOB_ID is not set; "),
    ],
)
def test_what_cannot_be_expanded_starts_nothing(line: str, said: str, corral: Corral) -> None:
    ended = corral("run", line, env={"CORRAL_JOB_ID": "7"})
    assert (ended.returncode, ended.stdout) == (125, "")
    assert ended.stderr.startswith(f"corral: {said}")
    assert len(ended.stderr.splitlines()) == 1


def test_redirections_and_assignments_are_expanded(served: Corral) -> None:
    served.ok(
        "run", "-w", "A=1 B=$A:~ sh -c \"printf '%s' \\$A,\\$B\" > ~/$NAME.txt", env={"NAME": "two words"}
    )
    assert (served.directory / "two words.txt").read_text() == f"1,1:{served.directory}"


def test_a_queued_job_and_a_restart_have_the_words_of_then(served: Corral) -> None:
    (served.directory / "a").touch()
    first = served.ok("run", "sleep 100")
    line = f"{SHOW} [a-z]"
    served.ok("run", "--after", first, line)
    (served.directory / "b").touch()
    queued = _job(served)
    assert (queued["command"], queued["stages"][0]["argv"][2:]) == (line, ["a"])
    shown = served.ok("show", "@").splitlines()
    assert shown[1:3] == [line, "   1  printf '%s|' a"]
    again = served.ok("restart", "@")
    assert _job(served, again)["command"] == line
    assert _job(served, again)["stages"][0]["argv"][2:] == ["a"]


def test_a_short_line_stays_as_typed_when_what_it_becomes_is_long(corral: Corral) -> None:
    for number in range(2000):
        (corral.directory / f"a-rather-long-name-{number:04}.txt").touch()
    job = json.loads(corral.ok("run", "--json", f"{SHOW} *.txt"))
    assert (job["command"], job["cut"]) == (f"{SHOW} *.txt", True)
    whole = json.loads(corral.ok("show", "--json", "@"))
    assert (whole["command"], len(whole["stages"][0]["argv"])) == (f"{SHOW} *.txt", 2002)


LIBRARY = """
import asyncio, corral, os
async def main():
    open("a.txt", "w").close()
    async with corral.open() as manager:
        env = {**os.environ, "OWN": "two words"}
        result = await manager.run("printf '%s|' ~ $OWN *.txt", env=env, check=True)
        print(result.stdout.decode(), result.job.command)
        result = await manager.run(["printf", "%s|", "~", "$OWN", "*"], env=env, check=True)
        print(result.stdout.decode())
        try:
            await manager.start_many(["true", "echo $NOT_SET"])
        except corral.UsageError as error:
            print(error)
        print(len(await manager.jobs(all=True)))
asyncio.run(main())
"""


def test_a_str_of_the_library_is_expanded_and_an_argv_is_not(corral: Corral) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", LIBRARY],
        cwd=corral.directory,
        env=corral.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    line, argv, refusal, count = ran.stdout.splitlines()
    assert line == f"{corral.directory}|two words|a.txt| printf '%s|' ~ $OWN *.txt"
    assert argv == "~|$OWN|*|"
    assert refusal.startswith("column 6: $NOT_SET is not set; ")
    assert count == "2"
