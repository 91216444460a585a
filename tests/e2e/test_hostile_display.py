"""Hostile output and hostile names on a real terminal: nothing of them is obeyed, by no command and no screen."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest

from e2e.command import Corral
from e2e.rawtty import in_command, in_dashboard
from e2e.terminal import Terminal
from until import ZOO, until
from zoo.nasty import SEQUENCES

NASTY = "\x1b]0;31337\x07[/]\u202e\u009b31337A\x1b[31337;1H\u200b"
EVERY = (
    "import json, sys\nfrom corral_tui.main import main\nfor words in json.loads(sys.argv[1]): main(words)\n"
)
"""Several commands one after the other, without starting Python for each."""


@pytest.fixture
def nasty(corral: Corral) -> str:
    """A job that is as hostile as can be, waiting for a lock that its own child holds; its id."""
    directory = corral.directory / NASTY.replace("/", "_")
    directory.mkdir()
    lock = f"lock{NASTY.replace('/', '_')}"
    argv = [sys.executable, "-S", "-E", os.path.join(ZOO, "nasty.py"), lock, NASTY, "\udcff31337"]
    job = str(corral.ok("run", "-C", os.fspath(directory), "-n", "nasty", "-e", f"A={NASTY}", *argv))
    output = Path(corral.home, "jobs", job, "stdout")
    until(lambda: b"\xff\xfe\xc3" in output.read_bytes(), "its output")
    until(lambda: json.loads(corral.ok("why", "--json", job))["waits"], "what it waits for to be seen")
    return job


def test_no_command_lets_it_through(corral: Corral, nasty: str) -> None:
    called = f"run{NASTY.replace('/', '_')}"
    Path(corral.directory, called).symlink_to("/bin/sleep")
    listed = ["ps", "ps -a", f"show {nasty}", f"why {nasty}", f"logs {nasty}", f"logs -n 5 --stderr {nasty}"]
    commands = [line.split() for line in listed]
    commands += [
        ["run", "-q", f"./{called}", "100"],
        ["run", "-q", f"./{called}", NASTY],
        ["wait", "3"],
        ["ps", "--json"],
        ["show", "--json", nasty],
        ["why", "--json", nasty],
        ["logs", nasty, "2", "3"],
        ["wait", "--timeout", "0.01", "2"],
        ["peek", "2"],
        ["daemon", "stop"],
        ["run", "--shell", NASTY],
        ["run", "--", NASTY],
        ["run", f"a {NASTY} $x"],
        ["run", "-n", NASTY, "true"],
        ["run", "--stdin", NASTY, "cat"],
        ["run", "-C", NASTY, "true"],
        ["run", "--env-file", NASTY, "true"],
        ["run", "-e", f"{NASTY}=x", "true"],
        ["show", NASTY],
        ["wait", NASTY],
        [NASTY],
        ["ps", f"--{NASTY}"],
        ["signal", NASTY, nasty],
        ["stop", "--grace", NASTY, nasty],
        ["pause", nasty],
        ["resume", nasty],
        ["restart", nasty],
        ["stop", "--grace", "0", nasty, "2", "@"],
        ["show", nasty],
        ["show", "2"],
        ["why", nasty],
        ["rm", nasty],
        ["clean", "--dry-run", "--keep", "0"],
        ["daemon", "log"],
    ]
    argv = [sys.executable, "-c", EVERY, json.dumps(commands)]
    with Terminal(argv, environment=corral.environment, cwd=corral.directory, columns=150) as terminal:
        assert terminal.wait_for_end() == 0
    assert terminal.raw.count(b"31337") > 100
    assert in_command(terminal.raw) == []
    completed = corral(
        "", env={"_CORRAL_COMPLETE": "zsh_complete", "COMP_WORDS": "corral show ", "COMP_CWORD": "2"}
    )
    assert "stopped" in completed.stdout
    assert in_command(completed.stdout.encode()) == []


def test_what_is_waited_for_is_harmless_on_a_terminal_and_whole_elsewhere(corral: Corral) -> None:
    picture = b"\x1b_Gf=100,a=T;" + b"31337" * 1000 + b"\x1b\\"
    output = b"\n".join((*SEQUENCES, picture, b"\x1b[31mred\x1b[0m the end", b""))
    (corral.directory / "hostile").write_bytes(output)
    (corral.directory / "picture").write_bytes(picture)
    waits = ("--wait", "sh", "-c", "cat hostile; cat hostile >&2; exit 3")
    argv = [*corral.argv, "run", *waits]
    with Terminal(argv, environment=corral.environment, cwd=corral.directory, columns=150) as terminal:
        assert terminal.wait_for_end() == 3
    assert in_command(terminal.raw) == []
    assert terminal.raw.count(b"\x1b[31mred\x1b[0m the end") == 2
    assert 2 * len(SEQUENCES) < terminal.raw.count(b"31337") < 4 * len(SEQUENCES)
    argv = [*corral.argv, "run", "--raw", "--wait", "sh", "-c", "cat picture; exit 3"]
    with Terminal(argv, environment=corral.environment, cwd=corral.directory, columns=150) as terminal:
        assert terminal.wait_for_end() == 3
    assert terminal.raw.count(picture) == 1
    piped = corral("run", *waits, text=False)
    assert (piped.stdout, piped.stderr) == (output, output)
    assert "it needs --wait" in corral("run", "--raw", "true").stderr


SCREENS = (
    ("v", "LAST LINE, OR WHY"),
    ("v\r", "2 Output"),
    ("V", "V hides them"),
    ("s", "esc cancel"),
    ("\x1b", ""),
    ("c", "Chain onto"),
    ("\x1b", ""),
)


LEAVES = re.compile("esc (cancel|closes)")
"""Stands at the foot of every dialog."""


def test_no_screen_lets_it_through(corral: Corral, nasty: str) -> None:
    argv = [*corral.argv]
    with Terminal(argv, environment=corral.environment, cwd=corral.directory) as terminal:
        terminal.wait_for("nasty")
        for keys, words in SCREENS:
            terminal.press(keys)
            if words:
                terminal.wait_for(words)
            else:
                until(lambda: not LEAVES.search(terminal.text()), "the dialog to be left")
        terminal.press("q")
        assert terminal.wait_for_end() == 0
        assert terminal.raw.count(b"31337") > 100
        assert in_dashboard(terminal.raw) == []
