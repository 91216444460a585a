"""Every verb by one table: its help, what wrong usage and an unknown id exit with, and that each is told in one line."""

from __future__ import annotations

import pytest

from corral_tui.cli.verbs import VERBS
from e2e.command import Corral

WRONG = ("--nosuchoption",)
TABLE: dict[str, tuple[tuple[str, ...], tuple[str, ...] | None]] = {
    "demo": (WRONG, None),
    "run": ((), ("--after", "99", "true")),
    "each": (("-j", "x", "true", ":::", "a"), ("--after", "99", "true", ":::", "a")),
    "ps": (("--state", "nosuchstate"), ("-q", "99")),
    "show": (("1", "2"), ("99",)),
    "logs": (("--stdout", "--stage", "1"), ("99",)),
    "why": (WRONG, ("99",)),
    "peek": (("7", "0"), ("99",)),
    "stop": ((), ("99",)),
    "kill": (("-9", "7"), ("nope",)),
    "signal": (("TERM",), ("TERM", "99")),
    "pause": ((), ("99",)),
    "resume": ((), ("99",)),
    "restart": ((), ("99",)),
    "wait": ((), ("99",)),
    "send": (("7",), ("99", "x")),
    "attach": ((), None),
    "rm": ((), ("99",)),
    "clean": (WRONG, None),
    "daemon": ((), None),
    "completion": (("tcsh",), None),
}
"""Of each verb what is wrong usage, and an unknown id where it takes one without a terminal."""
EXITS_WITH_THE_JOBS = ("run", "each", "wait", "attach")


def test_the_table_has_every_verb() -> None:
    assert list(TABLE) == list(VERBS)


@pytest.mark.parametrize("verb", TABLE)
def test_usage_unknown_id_and_exit_status(verb: str, shared: Corral) -> None:
    assert "Example: corral " in shared.ok(verb, "--help")
    usage, unknown = TABLE[verb]
    wraps = verb in EXITS_WITH_THE_JOBS
    ended = shared(verb, *usage)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (125 if wraps else 2, "", 1)
    assert ended.stderr.startswith("corral: ")
    if unknown is not None:
        ended = shared(verb, *unknown)
        assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (125 if wraps else 1, "", 1)
        assert ended.stderr.startswith("corral: no job ")
        assert "corral ps -a" in ended.stderr
