"""A secret in a job's environment shows in nothing that Corral prints, keeps or starts, but in its journal."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from corral.model.home import Home
from corral.protocol.address import dial
from corral_tui.main import main
from e2e.command import Corral
from reliability.hostile import HELLO
from until import until

TOKENS = {kind: f"{kind}-{secrets.token_hex(8)}" for kind in ("option", "file", "inherited", "wrong")}


def holds_one(text: str | bytes) -> list[str]:
    raw = text if isinstance(text, bytes) else os.fsencode(text)
    return [kind for kind, token in TOKENS.items() if token.encode() in raw]


@pytest.fixture
def subscriber(corral: Corral) -> Iterator[socket.socket]:
    corral.ok("run", "-q", "true")
    with dial(Home(str(corral.home))) as sock:
        sock.settimeout(20)
        sock.sendall(HELLO + b'{"id":2,"op":"subscribe"}\n')
        yield sock


class Told:
    """What `corral WORDS` prints on both streams. In this process, which starts faster than forty others."""

    def __init__(
        self, corral: Corral, monkeypatch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]
    ) -> None:
        self._capture = capture
        monkeypatch.chdir(corral.directory)
        monkeypatch.setenv("CORRAL_HOME", str(corral.home))
        monkeypatch.setenv("INHERITED", TOKENS["inherited"])

    def __call__(self, *words: str) -> str:
        self._capture.readouterr()
        main(words)
        return "".join(self._capture.readouterr())


@pytest.fixture
def told(corral: Corral, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Told:
    return Told(corral, monkeypatch, capfd)


def start_all(corral: Corral, told: Told) -> str:
    """Jobs of every fate with a secret in each way; what was printed."""
    (corral.directory / "secrets.env").write_text(f"FROM_FILE={TOKENS['file']}\nPATH={os.environ['PATH']}\n")
    # More than the kernel passes on in one piece (execve(2), MAX_ARG_STRLEN).
    (corral.directory / "long.env").write_text(f"LONG={TOKENS['file'] * 8000}\n")
    given = ["-e", f"TOKEN={TOKENS['option']}", "--env-file", "secrets.env", "-e", "INHERITED"]
    said = [told("run", "-n", "nap", *given, "sleep", "100")]
    said += [
        told("run", *given, *words)
        for words in (
            ["--wait", "sh", "-c", "exit 3"],
            ["--json", "true"],
            ["no-such-program"],
            ["/etc/passwd"],
            ["-C", "/no/such/directory", "true"],
            ["--shell", "kill -9 $$"],
            ["--env-file", "long.env", "true"],
        )
    ]
    return "".join(said)


LOOKS = [
    "ps -a",
    "ps -a --json",
    "show nap",
    "show --json nap",
    "why nap",
    "why --json nap",
    "daemon status --json",
    "logs nap",
    "daemon log",
    "restart nap",
    "peek nap",
    "show 2",
    "why 2",
    "signal USR1 2",
    "stop --json nap",
    "wait nap",
    "ps -a --json nap",
    "daemon restart",
]
WRONG = [
    ["-e", "={}"],
    ["-e", "{}"],
    ["-e", "a b={}"],
    ["-e", "A\x1b={}"],
    ["--env={}"],
    ["--evn=A={}"],
    ["--evn", "A={}"],
    ["--env-file", "bad.env"],
    ["--timeout", "no", "-e", "A={}"],
    ["-e", "A={}", "--nosuch"],
    ["-e", "A={}"],
]


def test_it_shows_nowhere(corral: Corral, told: Told, subscriber: socket.socket) -> None:
    said = {"starting": start_all(corral, told)}
    for words in LOOKS:
        said[words] = told(*words.split())
    (corral.directory / "bad.env").write_text(f"A=1\nexport {TOKENS['wrong']}\n")
    for words in WRONG:
        filled = [word.replace("{}", TOKENS["wrong"]) for word in words]
        said[" ".join(words)] = told("run", *filled, *(() if words[-1] == "A={}" else ("true",)))
    assert {words for words, text in said.items() if not text} == {"logs nap", "daemon log", "wait nap"}
    assert {words: found for words, text in said.items() if (found := holds_one(text))} == {}
    assert all(said[" ".join(words)].startswith("corral: ") for words in WRONG)

    pushed = b""
    while piece := subscriber.recv(1 << 20):
        pushed += piece
    assert b'"changed"' in pushed
    assert holds_one(pushed) == []
    for pid in corral.processes():
        assert holds_one(Path(f"/proc/{pid}/cmdline").read_bytes()) == []
    files = [path for path in corral.home.rglob("*") if path.is_file()]
    assert any(path.name == "daemon.log" for path in files)
    held = {
        path.name: holds_one(path.read_bytes()) for path in files if not path.name.startswith("corral.db")
    }
    assert {name: found for name, found in held.items() if found} == {}


def test_a_fault_of_the_daemon_tells_it_to_nobody(corral: Corral, told: Told) -> None:
    """Its folder is a file: the start fails in a way that nobody thought of."""
    corral.ok("run", "-q", "true")
    (corral.home / "jobs" / "2").write_text("in the way")
    given = ["-e", f"TOKEN={TOKENS['option']}"]
    said = told("run", *given, "sleep", "100")
    assert "jobs/2" in said
    assert holds_one(said) == []
    until(lambda: (corral.home / "daemon.log").exists(), "a log")
    assert holds_one((corral.home / "daemon.log").read_bytes()) == []
    assert holds_one(told("show", "2") + told("why", "2")) == []
