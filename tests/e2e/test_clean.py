"""Old jobs go, and nothing that anybody needs: `corral clean`, and the daemon by itself."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import forkserver
from corral.model.home import Home
from e2e.command import Corral
from e2e.terminal import Terminal
from reliability.cleaning import kill_in_the_middle
from until import until

DAYS_AGO = time.time() - 2 * 86400


def listed(corral: Corral) -> set[str]:
    return {job["id"] for job in json.loads(corral.ok("ps", "-a", "--json"))}


def folders(corral: Corral) -> set[str]:
    return set(os.listdir(Home(os.fspath(corral.home)).jobs))


def configure(corral: Corral, text: str) -> None:
    path = corral.directory / ".config" / "corral" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def answering(corral: Corral, answer: str, *words: str) -> tuple[int, str]:
    """`corral words…` on a terminal, its question answered."""
    argv = [*corral.argv, *words]
    with Terminal(argv, environment=corral.environment, cwd=corral.directory) as terminal:
        terminal.wait_for("Delete them?")
        terminal.press(answer)
        return terminal.wait_for_end(), terminal.text()


def test_what_is_needed_stays_and_the_rest_goes_once_somebody_says_so(corral: Corral) -> None:
    assert corral.ok("clean") == "nothing to clean: no job has ended"
    assert not corral.processes()
    for number in range(1, 5):
        corral.ok("run", "--quiet", "--wait", f"sh -c 'echo {number}'")
    corral.ok("run", "--quiet", "--wait", "--shell", "sleep 300 > /dev/null 2>&1 &")
    running = corral.ok("run", "sleep", "300")
    corral.ok("run", "--after", "1", "--after", running, "true")
    corral.ok("run", "--from", "2", "sleep", "300")
    until(lambda: '"leftovers":1' in corral.ok("ps", "--json", "5").replace(" ", ""), "what job 5 left")
    everything = {str(number) for number in range(1, 9)}

    listing = corral.ok("clean", "--keep", "0", "--dry-run").splitlines()
    assert [line.split()[0] for line in listing] == ["ID", "3", "4", "beyond", "kept:", "kept:", "kept:"]
    assert listing[4:] == [
        "kept: 1 job: a job that has not ended reads its output",
        "kept: 1 job: a queued job waits for it",
        "kept: 1 job: processes of it are alive",
    ]
    refused = corral("clean", "--keep", "0")
    assert (refused.returncode, refused.stderr.count("there is no terminal to ask on; -y")) == (1, 1)
    status, screen = answering(corral, "n\n", "clean", "--keep", "0")
    assert (status, "nothing was deleted" in screen) == (1, True)
    assert listed(corral) == everything

    # One whose output is gone already, as after a crash in the middle, goes all the same.
    (corral.home / "jobs" / "3" / "stdout").unlink()
    status, screen = answering(corral, "y\n", "clean", "--keep", "0")
    assert (status, "2 jobs deleted" in screen) == (0, True)
    assert listed(corral) == everything - {"3", "4"}
    assert folders(corral) == everything - {"3", "4", "7"}
    assert corral("logs", "3").returncode == 1
    assert corral.ok("logs", "2") == "2"


def test_folders_without_a_job_go_when_they_are_named_and_what_makes_no_sense_is_said(
    corral: Corral,
) -> None:
    corral.ok("run", "--quiet", "--wait", "true")
    strays = corral.home / "jobs"
    for name in ("900", "901", "mine"):
        (strays / name).mkdir()
        (strays / name / "stdout").write_bytes(b"x" * 5000)
    for name in ("900", "mine"):
        for path in (strays / name / "stdout", strays / name):
            os.utime(path, (DAYS_AGO, DAYS_AGO))
    configure(corral, '[clean]\nkeep = 0\nage = "1d"\n')
    corral.ok("daemon", "stop")
    done = corral("clean", "--yes")
    assert (done.returncode, done.stdout.splitlines()[0].split()) == (
        0,
        ["ended", "more", "than", "30d", "ago", "0", "jobs", "0"],
    )
    assert "jobs/900, of no job" in done.stdout
    assert "0 jobs and 1 folder deleted, 8.0K freed" in done.stdout
    notices = done.stderr.splitlines()
    assert ["keep in [clean]: write a number" in notices[0], "no setting 'age'" in notices[1]] == [True, True]
    assert folders(corral) == {"1", "901", "mine"}
    assert corral.ok("daemon", "status").count("in [clean]") == 2
    log = (corral.home / "daemon.log").read_text()
    assert log.count("keep in [clean]") == 1

    # A link in the place of a folder is not followed, and not taken for deleted.
    (corral.home / "jobs" / "1").rename(strays / "elsewhere")
    (strays / "1").symlink_to(strays / "elsewhere")
    blocked = corral("clean", "--keep", "0", "-y")
    assert (blocked.returncode, "cannot delete" in blocked.stderr) == (1, True)
    assert "0 jobs deleted" in blocked.stdout
    assert listed(corral) == {"1"}
    (strays / "1").unlink()
    (strays / "elsewhere").rename(strays / "1")
    corral.ok("clean", "--keep", "0", "-y")
    assert (listed(corral), folders(corral)) == (set(), {"901", "mine"})


BY_ITSELF = """
import os, sys
from corral.retention import cleaner
cleaner.FIRST_SECONDS = 0
cleaner.AT_MOST_EVERY_SECONDS = 0.05
from corral.daemon.main import run_foreground
from corral.model.home import Home
sys.exit(run_foreground(Home(sys.argv[1])))
"""


def test_the_daemon_cleans_by_itself_when_many_have_ended(corral: Corral, tmp_path: Path) -> None:
    configure(corral, "[clean]\nkeep = 3\n")
    home = Home(os.fspath(corral.home))
    with open(tmp_path / "said", "wb") as said:
        daemon = forkserver.popen(
            [sys.executable, "-c", BY_ITSELF, home.path], env=corral.environment, stderr=said
        )
    try:
        until(lambda: os.path.exists(home.socket), "the daemon to listen")
        for _ in range(10):
            corral.ok("run", "--quiet", "true")
        corral.ok("wait", *map(str, range(5, 11)))
        # Twice the rule, since they have just ended.
        until(lambda: listed(corral) == {"5", "6", "7", "8", "9", "10"}, "the oldest jobs to go")
        assert folders(corral) == {"5", "6", "7", "8", "9", "10"}
        until(lambda: "by number); " in (tmp_path / "said").read_text(), "the log to say so")
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait()


def test_a_daemon_that_is_killed_while_it_cleans_loses_nothing_that_was_to_stay(tmp_path: Path) -> None:
    assert kill_in_the_middle(tmp_path / "home", 400, times=3, seed=1) == []
